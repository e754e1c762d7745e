"""A user's own method: SSD-KD under another name, of which no config knows the settings."""

DEFINITION = """
import dataclasses
from ssdkd_jax.methods.ssdkd import SSDKD


@dataclasses.dataclass(frozen=True)
class MyMethod(SSDKD):
    pass
"""


def written(folder):
    """The method's name, after its file was written into a folder."""
    (folder / "mine.py").write_text(DEFINITION)
    return f"{folder}/mine.py:MyMethod"
