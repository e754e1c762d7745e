"""What is no PyTorch file, though it is called one."""

import gzip
import io
import struct
import tarfile
import zipfile

import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.interop.foreign_files import check_not_foreign

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
SAFETENSORS = struct.pack("<Q", 8) + b"{      }"
OUTDATED_PICKLE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def zipped(name):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, "")
    return content.getvalue()


def archived():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.pth"))
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a b.pth", SAFETENSORS, "{path} is a safetensors file; rename it: mv -i '{folder}/a b.pth' '{folder}/a b"),
        ("a.safetensors", zipped("a/data.pkl"), "{path} is no safetensors file, but one of torch.save; rename it: mv "),
        ("a.safetensors", OUTDATED_PICKLE, "{path} is no safetensors file, but one of torch.save; rename it: mv "),
        ("a.pth", POINTER, "{path} is a Git LFS pointer, not the file it stands for; fetch that: git lfs pull"),
        ("a.safetensors", POINTER, "{path} is a Git LFS pointer, not the file it stands for; fetch that: git lfs pull"),
        ("a.pth", b"\n<!DOCTYPE html>\n<html>", "{path} is a web page, as a failed download leaves; download the file"),
        ("a.pt", b"\xef\xbb\xbf<HTML lang=", "{path} is a web page, as a failed download leaves; download the file"),
        ("a.bin", b'{"message": "Not Found"}', "{path} is a message in XML or JSON, as a failed download leaves; down"),
        ("a.th", b"<?xml version='1.0'?><Error>", "{path} is a message in XML or JSON, as a failed download leaves"),
        ("a.pth", b"epoch 1\nloss 2.5\n", "{path} is text; give the file of weights that torch.save has written"),
        ("a.pth", gzip.compress(b"", mtime=0), "{path} is compressed by gzip; unpack it: gzip -dc {path} > OTHER.pth"),
        ("a.pth", b"\x89HDF\r\n\x1a\n", "{path} is an HDF5 file, as Keras writes; expected PyTorch weights"),
        ("a.tar", archived(), "{path} is a tar archive; unpack it, and give the file of weights in it: tar -x"),
        ("a.pth", zipped("w.npy"), "{path} is a zip archive with w.npy in it, which torch.save has not written; unpac"),
    ],
)
def test_something_else_is_named(tmp_path, name, content, expected):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        check_not_foreign(path)
    assert str(error.value).startswith(expected.format(path=path, folder=tmp_path)) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pth", zipped("a/data.pkl")),
        ("a.pth", OUTDATED_PICKLE),
        ("a.safetensors", SAFETENSORS),
        ("a.safetensors", struct.pack("<Q", 0x0280) + b"{" + 0x027F * b" "),
        ("a.pth", b""),
        ("a.pth", zipped("a/data.pkl")[:-9]),
    ],
)
def test_all_else_is_left_to_its_reader(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    check_not_foreign(tmp_path / name)
