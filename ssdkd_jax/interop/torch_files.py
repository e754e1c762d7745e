"""Files of PyTorch weights.  No code in a file is ever run."""

import importlib
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import ending, expand
from ssdkd_jax.interop.foreign_files import check_not_foreign

# Where training scripts put the weights inside what they save; the first that is there wins.
NESTINGS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "student", "teacher"),
    *("params", "weights", "state_dict_ema", "model_ema", "ema"),
)
# The last suffix of the files that are read; the empty one is a file without a suffix.
SUFFIXES = (".pth", ".pt", ".th", ".ckpt", ".bin", ".tar", ".safetensors", "")
# Where training scripts put an optimizer's state.
OPTIMIZERS = ("optimizer", "optimizer_state_dict", "optimizer_states", "optim", "param_groups")
# What DataParallel and torch.compile put before each name.
WRAPPERS = ("module.", "_orig_mod.")


def load_torch_file(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a PyTorch or safetensors file.

    Args:
      path: one of SUFFIXES, written by `torch.save` (zip or legacy format), or `.safetensors`.  The
        tensors may be stored under a key such as `state_dict` or `model`; prefixes `module.` and `_orig_mod.` are
        dropped.

    Returns:
      {PyTorch name: NumPy array}; floating tensors as float32, others in their own dtype.

    Raises:
      UserError: no path, no such file, a directory, of an unknown suffix, something else under such a name, damaged,
        holding Python objects that could run code, a TorchScript program, holding no weights or negative variances;
        torch or safetensors not installed.
    """
    tensors, note = read_torch_file(path)
    if note:
        print(note, flush=True)
    return tensors


def read_torch_file(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], str]:
    """Returns what `load_torch_file` does, and a sentence for the user or ""; arguments and errors as there."""
    path = expand(path)
    if path.is_dir():
        raise UserError(f"{path} is a directory, expected a file of PyTorch weights")
    if not path.is_file():
        raise UserError(f"{path} is no regular file" if path.exists() else f"no such file: {path}")
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} {ending(path)}, expected PyTorch weights: {' '.join(SUFFIXES).strip()}")
    check_not_foreign(path)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    found = _weights_in(content)
    if not found:
        raise UserError(
            f"{path} {_what_it_holds(content)}; expected a state_dict, as torch.save(model.state_dict(), path) writes"
        )
    (where, tensors), *others = found
    note = ""
    if others:
        note = (
            f"{path}: the weights in {where} are taken, not those in {', '.join(other for other, _ in others)}; for "
            f"those, save them alone: torch.save(torch.load(path){others[0][0]}, other_path)"
        )
    unwrapped = {}
    for name, value in tensors.items():
        if _unwrapped(name) in unwrapped:
            raise UserError(f"{path} has tensor {_unwrapped(name)!r} twice, with and without a prefix such as module.")
        unwrapped[_unwrapped(name)] = _checked(_as_numpy(value, name, path), name, path)
    return unwrapped, note


def _read_safetensors(path):
    safetensors = _import("safetensors.numpy", path)
    try:
        return safetensors.load_file(path)
    except Exception as error:
        raise UserError(f"{path} is truncated or no safetensors file ({_reason(error)})") from error


def _read_torch(path):
    torch = _import("torch", path)
    _check_sums(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if not found:
            raise UserError(f"{path} is no PyTorch file ({_reason(error)})") from error
        raise UserError(
            f"{path} holds Python objects ({found[1]}) that could run code when loaded, so it was not loaded; "
            "if you trust it, save its weights alone: torch.save(model.state_dict(), path)"
        ) from error
    except Exception as error:
        if "TorchScript archive" in str(error):
            raise UserError(
                f"{path} is a TorchScript archive, which holds a program; if you trust it, save its weights alone: "
                "torch.save(torch.jit.load(path).state_dict(), other_path)"
            ) from error
        # torch raises RuntimeError, EOFError, OSError, KeyError and more, depending on where the file ends.
        raise UserError(f"{path} is truncated or no PyTorch file ({_reason(error)})") from error


def _check_sums(path):
    """Raises UserError where a zip's checksums, at which torch does not look, say that its content has changed."""
    if not zipfile.is_zipfile(path):  # torch's legacy format has none
        return
    try:
        with zipfile.ZipFile(path) as archive:
            # torch.serialization.set_crc32_options(False) leaves them all 0.
            damaged = archive.testzip() if any(entry.CRC for entry in archive.infolist()) else None
    except Exception as error:  # zipfile raises BadZipFile, zlib.error, NotImplementedError and more
        damaged = _reason(error)
    if damaged:
        raise UserError(f"{path} is damaged, its checksum differs ({damaged}); copy it again from where it came from")


def _import(module, path):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(f"reading {path} needs {package}; install it: pip install {package}") from error


def _weights_in(content, where=""):
    """[(where, {name: tensor})] of the dicts that hold tensors on the way down the nestings, in the nestings' order."""
    if not isinstance(content, Mapping):
        return []
    nested = [found for key in NESTINGS for found in _weights_in(content.get(key), f"{where}[{key!r}]")]
    if nested:  # only to be named
        others = {key: _tensors_in(value) for key, value in content.items() if key not in (*NESTINGS, *OPTIMIZERS)}
        return nested + [(f"{where}[{key!r}]", tensors) for key, tensors in others.items() if tensors]
    tensors = _tensors_in(content)
    return [(where, tensors)] if tensors else []


def _tensors_in(content):
    entries = content.items() if isinstance(content, Mapping) else ()
    return {name: value for name, value in entries if isinstance(name, str) and _is_tensor(value)}


def _what_it_holds(content):
    entries = [str(key) for key in content] if isinstance(content, Mapping) else []
    if set(entries) & set(OPTIMIZERS):
        return f"holds an optimizer's state but no weights (its entries: {', '.join(entries)})"
    return (
        f"holds no tensors by name (its entries: {', '.join(entries[:10])})" if entries else "holds no tensors by name"
    )


def _is_tensor(value):
    return isinstance(value, np.ndarray) or hasattr(value, "detach")


def _unwrapped(name):
    while name.startswith(WRAPPERS):
        name = name.removeprefix(next(wrapper for wrapper in WRAPPERS if name.startswith(wrapper)))
    return name


def _as_numpy(value, name, path):
    if isinstance(value, np.ndarray):
        return value.astype(np.float32) if jnp.issubdtype(value.dtype, jnp.floating) else value
    try:
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() else value).numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"{path}: tensor {name!r} is quantized, sparse or without memory ({_reason(error)}), expected plain numbers"
        ) from error


def _checked(value, name, path):
    """The array; a variance must be one, of which BatchNorm takes the root."""
    if name.endswith("running_var") and (negative := np.count_nonzero(value < 0)):
        raise UserError(
            f"{path}: tensor {name!r} is negative in {negative} of {value.size} numbers, expected variances; "
            "the file is damaged or was saved wrongly"
        )
    return value


def _reason(error):
    """The error's first sentence, or its type where it says nothing."""
    return re.split(r"\n|\. ", str(error))[0] or type(error).__name__
