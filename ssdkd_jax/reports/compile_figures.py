"""The rows of `speed.compile_check` as cells of a table."""


def header() -> list[str]:
    """Returns the names of the columns; all of one device."""
    return [
        *("config", "topology", "memory (MB)", "of the chip's", "TFLOP", "GB moved", "collectives", "MB in them"),
        *("arithmetic, at least (s)", "memory traffic, at least (s)", "matrix unit filled"),
    ]


def rows(result: dict) -> list[list[str]]:
    """Returns one row of text per config and topology, under `header`."""
    return [_row(row) for _, row in sorted(result["rows"].items())]


def _row(row):
    collectives = row["collectives"].values()
    count, size = (sum(one[i] for one in collectives) for i in (0, 1))
    memory, moved = row["memory_bytes"], f"{row['bytes'] / 1e9:.3g}"
    return [
        *(row["config"], row["topology"], f"{memory / 1e6:,.0f}", f"{100 * memory / row['chip_memory_bytes']:.1f} %"),
        *(f"{row['flops'] / 1e12:.3g}", f"up to {moved}" if row["quick"] else moved, f"{count:,.0f}"),
        *(f"{size / 1e6:,.1f}", f"{row['arithmetic_seconds']:.2g}"),
        "–" if row["quick"] else f"{row['memory_seconds']:.2g}",
        f"{100 * row['flops'] / row['padded_flops']:.1f} %" if row["padded_flops"] else "–",
    ]


def notes(result: dict) -> list[str]:
    """Returns the sentences that belong under the table."""
    found = [
        "Of one device and one epoch; memory is the larger of the two programs'.",
        "The seconds are bounds, not measurements: what the chip needs for that arithmetic alone at its bfloat16 peak, "
        "and for that memory traffic alone at its bandwidth.",
        "The matrix unit is filled as far as channels are multiples of 128.",
    ]
    if any(row["quick"] for row in result["rows"].values()):
        found.append(
            "Where bytes are “up to”, the program was compiled with --quick, as if nothing stayed in the memory beside "
            "the arithmetic, and its memory is a bound, too."
        )
    transfers = [name for name, row in result["rows"].items() if row["host_transfers"]]
    retraced = [name for name, row in result["rows"].items() if row["retraces"]]
    found.append(f"Transfers to or from the host within an epoch: {', '.join(transfers) or 'none'}.")
    found.append(f"Programs that would be compiled again: {', '.join(retraced) or 'none'}.")
    return found
