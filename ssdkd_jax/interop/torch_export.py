"""A network as a PyTorch file, with a note next to it that says how to load it and what its images look like."""

import importlib.util
import io
import os
import pathlib

import numpy as np

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import ending, write_together
from ssdkd_jax.interop import naming
from ssdkd_jax.interop.torch_weights import to_torch_state_dict
from ssdkd_jax.models import public_definition, task_of

_NEEDS = {".pth": "torch", ".pt": "torch", ".th": "torch", ".safetensors": "safetensors"}


def available_suffix() -> str | None:
    """Returns ".pth" where torch is installed, else ".safetensors" where that package is, else None."""
    return next((suffix for suffix in (".pth", ".safetensors") if _installed(_NEEDS[suffix])), None)


def check_can_write(path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Raises UserError where `export_network` cannot write, or would replace what it did not write.

    Args:
      path: its suffix must be a PyTorch file's, it must be no directory, and the package that writes it installed.
      overwrite: whether files of anybody else may be replaced; those of an earlier export always may.
    """
    path = pathlib.Path(path)
    if path.suffix not in _NEEDS:
        raise UserError(f"{path} {ending(path)}, expected a PyTorch file: {', '.join(_NEEDS)}")
    if path.is_dir():
        raise UserError(f"{path} is a directory, expected the name of a file to write")
    if not _installed(_NEEDS[path.suffix]):
        raise UserError(f"writing {path} needs {_NEEDS[path.suffix]}; install it: pip install {_NEEDS[path.suffix]}")
    note = _note_of(path)
    foreign = next((file for file in (note, path) if file.exists() and not _is_ours(note, path)), None)
    if foreign and not overwrite:
        known = "it is no note of ours" if foreign == note else f"no note of ours, {note.name}, stands beside it"
        raise UserError(f"{foreign} exists and is not from an export ({known}); nothing was written: move it elsewhere")


def _note_of(path):
    return path.with_name(f"{path.name}.md")


def _is_ours(note, path):
    """True if the note is one that `describe` writes for the file."""
    text = note.read_text(encoding="utf-8", errors="replace") if note.is_file() else ""
    return f"\n{_NOTE_BEGINS}" in text and f'("{path.name}"' in text


def _installed(package):
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module that was put into sys.modules by hand
        return False


def export_network(
    path: str | os.PathLike, variables: dict, metadata: dict, *, overwrite: bool = False
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes a PyTorch file with the public names and shapes, and the note `<path>.md`.

    Args:
      path: `.pth`, `.pt`, `.th` or `.safetensors`.
      variables: {"params": ..., "batch_stats": ...}.
      metadata: as `training.saved_network.save_network` stores it next to a network.
      overwrite: as for `check_can_write`.

    Returns:
      the paths of both files.

    Raises:
      UserError: see `check_can_write` and `to_torch_state_dict`.
    """
    path = pathlib.Path(path)
    check_can_write(path, overwrite=overwrite)
    state_dict = to_torch_state_dict(metadata["architecture"], variables, metadata["image_shape"])
    path.parent.mkdir(parents=True, exist_ok=True)
    note = _note_of(path)
    shapes = {name: array.shape for name, array in state_dict.items()}
    write_together({path: _serialized(state_dict, path.suffix), note: describe(path, metadata, shapes)})
    return path, note


def _serialized(state_dict, suffix):
    """The bytes of a file; written by torch itself, a full disk would end in an error about its own format."""
    if suffix == ".safetensors":
        from safetensors.numpy import save

        return save(state_dict, metadata={"format": "pt"})
    import torch

    content = io.BytesIO()
    torch.save({name: torch.from_numpy(np.array(array)) for name, array in state_dict.items()}, content)
    return content.getvalue()


def describe(path: pathlib.Path, metadata: dict, shapes: dict[str, tuple[int, ...]]) -> str:
    """Writes Markdown: what the network is, its normalization and classes, and code that runs it on an image.

    Args:
      path: of the file with the weights.
      metadata: as for `export_network`.
      shapes: of the file's tensors, for networks without a public definition.
    """
    height, width, channels = metadata["image_shape"]
    definition = public_definition(metadata["architecture"], metadata["num_classes"], channels, (height, width))
    source = f"\nThe definition is in {definition.source}.\n" if definition and definition.source else ""
    load = f'torch.load("{path.name}", weights_only=True)'
    load_import = ""
    if path.suffix == ".safetensors":
        load, load_import = f'load_file("{path.name}")', "from safetensors.torch import load_file\n"
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(channels, "RGB")
    as_list = [float(f"{value:.6g}") for value in metadata["mean"]], [float(f"{v:.6g}") for v in metadata["std"]]
    of_pixels = task_of(metadata["architecture"]) == "segmentation"
    return _NOTE.format(
        ending=_OF_PIXELS if of_pixels else _OF_IMAGE,
        architecture=metadata["architecture"],
        height=height,
        width=width,
        colors={1: "gray", 3: "RGB"}.get(channels, f"{channels}-channel"),
        num_classes=metadata["num_classes"],
        mean=as_list[0],
        std=as_list[1],
        source=source,
        load_import=load_import,
        definition=definition.lines if definition else _OWN_LINES,
        tensors="" if definition else _tensors(metadata["architecture"], shapes),
        load=load,
        classes=list(metadata["class_names"]),
        mode=mode,
    )


def _tensors(architecture, shapes):
    """Markdown: what a user's own definition in PyTorch must be like."""
    rows = [f"| `{name}` | {shape} |" for name, shape in shapes.items() if not name.endswith(naming.COUNTER)]
    return _OWN_DEFINITION.format(architecture=architecture, rows="\n".join(rows))


_OWN_LINES = """from my_network import MyNetwork  # your own definition in PyTorch, see below

model = MyNetwork()
"""
_OWN_DEFINITION = """
The definition is your own: {architecture}, in PyTorch a module with the tensors below, in the order in which the
network calls them. A feature map that is flattened is flattened in the order height, width, channels:
`x.permute(0, 2, 3, 1).flatten(1)`.

| tensor | shape |
|---|---|
{rows}
"""
_OF_IMAGE = "    print(classes[int(model(x).argmax())])"
_OF_PIXELS = """    seen = model(x)[0].argmax(0)  # the class of each pixel, (height, width)
print({classes[number]: int((seen == number).sum()) for number in seen.unique()})"""
# What a note of ours is known by, also one of an older version.
_NOTE_BEGINS = "A PyTorch state_dict for "
_NOTE = """# {architecture}

A PyTorch state_dict for {height}x{width} {colors} images and {num_classes} classes. Images are scaled to [0, 1], then
normalized with mean {mean} and standard deviation {std} per channel; logits come in the order of `classes` below.
{source}
```python
import numpy as np
import torch
from PIL import Image
{load_import}{definition}
model.load_state_dict({load}, strict=True)
model.eval()
classes = {classes}
mean, std = torch.tensor({mean}), torch.tensor({std})
image = Image.open("image.png").convert("{mode}").resize(({width}, {height}))
pixels = torch.from_numpy(np.array(image)).reshape({height}, {width}, -1) / 255
x = ((pixels - mean) / std).permute(2, 0, 1)[None]
with torch.no_grad():
{ending}
```
{tensors}"""
