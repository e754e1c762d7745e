"""The figures of `speed.benchmark` as cells of a table."""

_NOTHING = "–"
# section of the result -> what it is called, and how and on which scale its numbers are written.
_FACTS = {
    "compile_seconds": ("Compilation", "{:.1f} s", 1),
    "memory_bytes": ("Memory", "{:,.0f} MB", 1e-6),
    "share_of_matrix_product": ("Share of the matrix product's FLOP/s", "{:.1f} %", 100),
}


def header(result: dict) -> list[str]:
    """Returns the names of the columns, PyTorch's only where it was timed."""
    return ["milliseconds", "median", "quartiles", *(["PyTorch", "its fastest", "ratio"] if _has_peer(result) else [])]


def rows(result: dict) -> list[list[str]]:
    """Returns one row of text per figure, under `header`."""
    return [[name, *_ours(times), *_peers(result, name)] for name, times in result["milliseconds"].items()]


def notes(result: dict) -> list[str]:
    """Returns the sentences that belong under the table."""
    networks = f"Teacher {result['teacher']}, student {result['student']}, {result['dtype']}."
    precision = result["matmul_precision"]
    sentences = [networks, *([f"Precision of matrix products: {precision}."] if precision != "default" else [])]
    if result.get("host"):
        sentences.append(f"Load average before: {result['host']['load_average']:.1f}.")
    for section, (words, form, scale) in _FACTS.items():
        values = result.get(section) or {}
        listed = ", ".join(f"{name} {form.format(scale * value)}" for name, value in values.items())
        sentences += [f"{words}: {listed}."] if listed else []
    return sentences


def _has_peer(result):
    return result.get("ratios") is not None


def _ours(times):
    lower, upper = times["quartiles"]
    return f"{times['median']:.3f}", f"{lower:.3f} to {upper:.3f}"


def _peers(result, name):
    if not _has_peer(result):
        return ()
    found = result["ratios"].get(name)
    if found is None:
        return (_NOTHING,) * 3
    return f"{found['milliseconds']:.3f}", found["variant"], f"{found['ratio']:.2f}"
