"""Tensors of PyTorch files, kept as NumPy arrays beside the compiled programs.

To import PyTorch takes two seconds, for which the first epoch of every run would wait.
"""

import numpy as np

from ssdkd_jax.files import digest_of, file_sha256, write_if_possible
from ssdkd_jax.interop import foreign_files, torch_files
from ssdkd_jax.interop.torch_files import read_torch_file
from ssdkd_jax.reports.run_files import DAMAGES
from ssdkd_jax.training.kept_programs import cache_folder

# Bytes of the largest file whose tensors are kept, as every version of a file takes as much of the disk again.
LARGEST_FILE = 2**28
# Digest of the code that reads them, as it is when this is imported.
_READER = digest_of([file_sha256(module.__file__) for module in (torch_files, foreign_files)])


def kept_tensors(path):
    """The tensors of `interop.load_torch_file`, or what it gave the last time for a file of this name and content.

    Args:
      path: pathlib.Path of a PyTorch file.

    Raises:
      UserError: as of `interop.load_torch_file`.
    """
    place = _place(path)
    found = _read(place) if place else None
    if found is None:
        found = read_torch_file(path)
        if place and place == _place(path):  # the file was not replaced in between
            write_if_possible(place, lambda file: _write(file, *found))
    tensors, note = found
    if note:
        print(note, flush=True)
    return tensors


def _place(path):
    """Where a file's tensors are kept, or None where they are not, as those that are read without PyTorch."""
    folder = cache_folder()
    if folder is None or path.suffix == ".safetensors" or not path.is_file() or path.stat().st_size > LARGEST_FILE:
        return None
    key = digest_of([str(path), file_sha256(path), _READER])
    return folder / "tensors" / f"{key[:20]}.npz"


def _write(file, tensors, note):
    # A tensor's name may be one that np.savez has for itself.
    arrays = {f"tensor {i}": value for i, value in enumerate(tensors.values())}
    np.savez(file, names=np.array(list(tensors)), note=np.array(note), **arrays)


def _read(path):
    """(tensors, note), or None where there are none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = arrays["names"].tolist()
            return {name: arrays[f"tensor {i}"] for i, name in enumerate(names)}, str(arrays["note"])
    except DAMAGES:
        return None
