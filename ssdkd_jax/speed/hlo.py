"""What a compiled program does on one device, read from XLA's text of it: products, memory traffic and collectives.

XLA's own cost analysis counts the body of a loop once; here every computation counts as often as it runs.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
HOST_TRANSFERS = ("infeed", "outfeed", "send", "recv")
# Rows and columns of the tiles in which a TPU's matrix unit multiplies.
TILE = 128
_BITS = {"pred": 8, "bf16": 16, "token": 0}
# What moves nothing itself.
_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "conditional", "iota"),
    *("copy-done", "after-all", "partition-id", "replica-id", "opt-barrier"),
}
_INSTRUCTION = re.compile(r"^\s*(ROOT )?%?(\S+) = (.*?) ([a-z][a-z0-9-]*)\((.*)$")
_HEADER = re.compile(r"^(ENTRY )?%?([^\s(]+) \(.*\{$")
_ARRAY = re.compile(r"([a-z]+\d*[a-z0-9]*)\[([\d,]*)\](?:\{([^}]*)\})?")
_OPERAND = re.compile(r"%([^\s,()]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Array(NamedTuple):
    """A value's dtype, shape and layout, such as "1,0:T(8,128)"."""

    dtype: str
    shape: tuple[int, ...]
    layout: str

    def bytes(self) -> int:
        """Its size as it is stored, with the padding of its tiles."""
        shape = list(self.shape)
        tile = re.search(r":T\(([\d,]+)\)", self.layout)
        if tile and shape:
            minor_first = [int(dimension) for dimension in self.layout.partition(":")[0].split(",")]
            for dimension, size in zip(minor_first, reversed(tile[1].split(",")), strict=False):
                shape[dimension] = -(-shape[dimension] // int(size)) * int(size)
        return math.prod(shape) * _bits(self.dtype) // 8

    def in_main_memory(self) -> bool:
        """Whether it is in the device's main memory, not in the memory next to its arithmetic."""
        return "S(" not in self.layout


class Instruction(NamedTuple):
    """A line of a computation; `rest` is everything after the operands' opening parenthesis."""

    name: str
    root: bool
    arrays: tuple[Array, ...]
    opcode: str
    operands: tuple[str, ...]
    rest: str


class Figures(NamedTuple):
    """What a program does on one device.

    flops: of its matrix products and convolutions; a multiplication and an addition count as two.
    padded_flops: the same with input and output channels filled up to multiples of TILE.
    float32_flops: those whose operands are float32.
    bytes: read from and written to main memory, with the padding of its tiles.
    collectives: {kind: (how many, bytes)}.
    host_transfers: how many.
    """

    flops: float
    padded_flops: float
    float32_flops: float
    bytes: float
    collectives: dict[str, tuple[float, float]]
    host_transfers: float


def figures(text: str, steps: int) -> Figures:
    """Adds up a program.

    Args:
      text: `compiled.as_text()`.
      steps: iterations of a loop whose number the text does not say, if there are products in it; others count once.
    """
    computations = _parse(text)
    flops = padded = float32 = moved = transfers = 0.0
    collectives = {}
    for computation, times in _runs(computations, steps):
        for instruction in computation.values():
            moved += times * _bytes(instruction, computation, computations)
            transfers += times * (instruction.opcode.removesuffix("-start") in HOST_TRANSFERS)
            for kind, size in _collectives(instruction, computation, computations):
                before = collectives.get(kind, (0, 0))
                collectives[kind] = before[0] + times, before[1] + times * size
            for product, among in _products(instruction, computation, computations):
                one, filled, is_float32 = _flops(product, among)
                flops += times * one
                padded += times * filled
                float32 += times * one * is_float32
    return Figures(flops, padded, float32, moved, collectives, transfers)


def _bits(dtype):
    digits = re.search(r"\d+", dtype)
    return _BITS[dtype] if dtype in _BITS else int(digits[0]) if digits else 0


def _parse(text) -> dict[str, dict[str, Instruction]]:
    """{name: {name: Instruction}} of all computations; the entry's name is ""."""
    computations, current = {}, None
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            current = computations.setdefault("" if header[1] else header[2], {})
        elif line.startswith("}"):
            current = None
        elif current is not None and (found := _INSTRUCTION.match(line)):
            root, name, shape, opcode, rest = found.groups()
            arrays = tuple(
                Array(dtype, tuple(map(int, filter(None, dims.split(",")))), layout or "")
                for dtype, dims, layout in _ARRAY.findall(shape)
            )
            operands = tuple(_OPERAND.findall(rest.partition("),")[0]))
            current[name] = Instruction(name, bool(root), arrays, opcode, operands, rest)
    return computations


def _runs(computations, steps) -> Iterator[tuple[dict, float]]:
    """(computation, how often it runs) of all but the insides of fusions and reductions."""
    todo = [("", 1.0)]
    while todo:
        name, times = todo.pop()
        computation = computations.get(name, {})
        yield computation, times
        for instruction in computation.values():
            rest = instruction.rest
            if instruction.opcode == "while":
                body = re.search(r"body=%?([^\s,]+)", rest)[1]
                known = _trips(rest, computations)
                unknown = steps if _has_products(body, computations) else 1
                todo.append((body, times * (unknown if known is None else known)))
            elif instruction.opcode in ("call", "conditional", "async-start"):
                todo += [(called, times) for called in _called(rest)]


def _trips(rest, computations):
    """How often a loop runs, as the compiler notes it, or as its condition says that counts to a whole number.

    The loops of these programs count from 0 in ones; None for a loop of another kind.
    """
    noted = _TRIPS.search(rest)
    if noted:
        return int(noted[1])
    compared, among = _comparison(computations.get(re.search(r"condition=%?([^\s,]+)", rest)[1], {}), computations)
    if not compared or "direction=LT" not in compared.rest or len(compared.operands) != 2:
        return None
    counter, bound = (among.get(name) for name in compared.operands)
    counts = counter and counter.opcode == "get-tuple-element" and counter.arrays[0].dtype.startswith(("s", "u"))
    return int(bound.rest.partition(")")[0]) if counts and bound and bound.opcode == "constant" else None


def _comparison(condition, computations):
    """(the comparison in which a loop's condition ends or None, its operands by name), also from inside of a fusion."""
    root = next((instruction for instruction in condition.values() if instruction.root), None)
    if root and root.opcode == "fusion":
        inside = next((computations[name] for name in _called(root.rest) if name in computations), {})
        parameters = {name: int(i.rest.partition(")")[0]) for name, i in inside.items() if i.opcode == "parameter"}
        given = {name: condition.get(root.operands[at]) for name, at in parameters.items() if at < len(root.operands)}
        root, condition = next((i for i in inside.values() if i.root), None), {**inside, **given}
    return (root if root and root.opcode == "compare" else None), condition


def _called(rest):
    listed = re.search(r"branch_computations=\{([^}]*)\}", rest)
    single = re.findall(r"(?:to_apply|calls|true_computation|false_computation)=%?([^\s,]+)", rest)
    return [*single, *(_OPERAND.findall(listed[1]) if listed else [])]


def _has_products(name, computations):
    computation = computations.get(name, {})
    return any(
        any(True for _ in _products(instruction, computation, computations)) for instruction in computation.values()
    )


def _products(instruction, computation, computations) -> Iterator[tuple[Instruction, dict]]:
    """(product, the computation that it is in) for an instruction itself, or inside of a fusion."""
    if instruction.opcode in ("convolution", "dot"):
        yield instruction, computation
    elif instruction.opcode == "fusion":
        for called in _called(instruction.rest):
            inside = computations.get(called, {})
            for inner in inside.values():
                yield from _products(inner, inside, computations)


def _flops(product, among) -> tuple[float, float, bool]:
    """(operations, operations with padded channels, whether the operands are float32)."""
    left, right = (among[name].arrays[0] for name in product.operands[:2])
    outputs, is_float32 = math.prod(product.arrays[0].shape), left.dtype == right.dtype == "f32"
    if product.opcode == "dot":
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", product.rest)[1].split(",")
        channels = (math.prod(left.shape[int(d)] for d in contracted if d), product.arrays[0].shape[-1])
        one = 2.0 * outputs * channels[0]
    else:
        labels = re.search(r"dim_labels=\w+_(\w+)->", product.rest)[1]
        sizes = dict(zip(labels, right.shape, strict=True))
        dilated = re.search(r"lhs_dilate=([\dx]+)", product.rest)
        # Between the pixels of a gradient that is spread out again there are zeros.
        zeros = math.prod(map(int, dilated[1].split("x"))) if dilated else 1
        channels, one = (sizes["i"], sizes["o"]), 2.0 * outputs * math.prod(right.shape) / sizes["o"] / zeros
    waste = math.prod(-(-channel // TILE) * TILE / channel for channel in channels)
    return one, one * waste, is_float32


def _collectives(instruction, computation, computations):
    """(kind, bytes that go in, or of a gather that come out) of an instruction itself, or begun in a fusion."""
    kind = instruction.opcode.removesuffix("-start")
    if kind == "all-gather":
        yield kind, max(array.bytes() for array in instruction.arrays)
    elif kind in COLLECTIVES:
        given = (computation[name].arrays for name in instruction.operands if name in computation)
        yield kind, sum(array.bytes() for arrays in given for array in arrays)
    elif kind == "fusion":
        for inside in (computations.get(name, {}) for name in _called(instruction.rest)):
            # One that goes on during other work is in the fusions of all of it.
            if any("AsyncCollectiveStart" in inner.rest for inner in inside.values()):
                for inner in inside.values():
                    yield from _collectives(inner, inside, computations)


def _bytes(instruction, computation, computations):
    """Moved between main memory and the arithmetic."""
    if instruction.opcode in _FREE or instruction.opcode.endswith("-done"):
        return 0
    if instruction.opcode in ("dynamic-slice", "gather", "slice"):
        return 2 * _main(instruction.arrays)
    if instruction.opcode in ("dynamic-update-slice", "scatter"):
        return 2 * _main(computation[instruction.operands[-1 if instruction.opcode == "scatter" else 1]].arrays)
    if instruction.opcode == "fusion":
        return _fusion_bytes(instruction, computation, computations)
    # Of an asynchronous copy, the shape holds source and target.
    arrays = instruction.arrays[:1] if instruction.opcode.endswith("-start") else instruction.arrays
    return _main(arrays) + sum(_main(computation[name].arrays) for name in instruction.operands if name in computation)


def _fusion_bytes(instruction, computation, computations):
    """Operands and result, of those that are only sliced or updated in place the part that is."""
    inside = next((computations[name] for name in _called(instruction.rest) if name in computations), {})
    parameters = {i.rest.partition(")")[0]: i for i in inside.values() if i.opcode == "parameter"}
    moved, updated = 0, False
    for position, name in enumerate(instruction.operands):
        arrays = computation[name].arrays if name in computation else ()
        users = [
            i for i in inside.values() if str(position) in parameters and parameters[str(position)].name in i.operands
        ]
        if users and all(user.opcode in ("dynamic-slice", "gather") for user in users):
            moved += sum(min(_main(arrays), user.arrays[0].bytes()) for user in users)
        elif users and all(user.opcode == "dynamic-update-slice" for user in users) and _main(arrays):
            updated = True
            moved += sum(inside[user.operands[1]].arrays[0].bytes() for user in users)
        else:
            moved += _main(arrays)
    return moved + (0 if updated else _main(instruction.arrays))


def _main(arrays):
    return sum(array.bytes() for array in arrays if array.in_main_memory())
