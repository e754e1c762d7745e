"""Files that are called as PyTorch weights are but hold something else, told by their first bytes."""

import pathlib
import re
import shlex
import zipfile

from ssdkd_jax.errors import UserError

# A tar archive says so only here; the longest beginning that is looked at.
_TAR_MAGIC, _LOOKED_AT = slice(257, 262), 512
_ANEW = "download the file itself anew, by its direct link"
_UNPACK = "unpack it, and give the file of weights in it"
# (beginning, what such a file is, what to do); {path} is the file's.
_FOREIGN = (
    (rb"version https://git-lfs", "is a Git LFS pointer, not the file it stands for", "fetch that: git lfs pull"),
    (rb"(\xef\xbb\xbf)?\s*<(!doctype html|html)", "is a web page, as a failed download leaves", _ANEW),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml|\{\s*\")", "is a message in XML or JSON, as a failed download leaves", _ANEW),
    (rb"\x1f\x8b\x08", "is compressed by gzip", "unpack it: gzip -dc {path} > OTHER.pth"),
    (rb"[\t\n\r\x20-\x7e]+\Z", "is text", "give the file of weights that torch.save has written"),
    (rb"\x89HDF", "is an HDF5 file, as Keras writes", "expected PyTorch weights, export them from there"),
)
_SAFETENSORS = rb".{6}\0\0\{"  # the length of a header, 8 bytes, and the header, JSON
_TORCH = rb"PK\x03\x04|\x80[\x02-\x05]"  # a zip, or a pickle


def check_not_foreign(path: pathlib.Path) -> None:
    """Raises UserError, with what to do, where a file is known to hold something else than its name says."""
    with path.open("rb") as file:
        beginning = file.read(_LOOKED_AT)
    for pattern, what, fix in _FOREIGN:
        if _begins(pattern, beginning):
            raise UserError(f"{path} {what}; {fix.format(path=shlex.quote(str(path)))}")
    if beginning[_TAR_MAGIC] == b"ustar":
        raise UserError(f"{path} is a tar archive; {_UNPACK}: tar -xf {shlex.quote(str(path))}")
    # First, since the length of a header may look like the beginning of a pickle.
    if _begins(_SAFETENSORS, beginning):
        if path.suffix != ".safetensors":
            raise UserError(f"{path} is a safetensors file; rename it: {_rename(path, '.safetensors')}")
    elif path.suffix == ".safetensors" and _begins(_TORCH, beginning):
        raise UserError(f"{path} is no safetensors file, but one of torch.save; rename it: {_rename(path, '.pth')}")
    _check_zip(path)


def _begins(pattern, beginning):
    return re.match(pattern, beginning, re.DOTALL | re.IGNORECASE)


def _rename(path, suffix):
    return shlex.join(["mv", "-i", str(path), str(path.with_suffix(suffix))])


def _check_zip(path):
    """Raises UserError for a whole zip archive that torch.save has not written; a damaged one is its reader's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # zipfile raises BadZipFile, NotImplementedError and more
        return
    if not any(name.endswith("data.pkl") for name in names):
        raise UserError(
            f"{path} is a zip archive with {', '.join(names[:3]) or 'nothing'} in it, which torch.save has not "
            f"written; {_UNPACK}: unzip {shlex.quote(str(path))}"
        )
