"""PyTorch names and files, in both directions.  Only `load_torch_file` needs torch, and imports it when called."""

from ssdkd_jax.interop.architectures import (
    classes_and_channels,
    from_torch_state_dict,
    infer_architecture,
    to_torch_state_dict,
)
from ssdkd_jax.interop.files import load_torch_file
from ssdkd_jax.interop.naming import LayoutError

__all__ = [
    "LayoutError",
    "classes_and_channels",
    "from_torch_state_dict",
    "infer_architecture",
    "load_torch_file",
    "to_torch_state_dict",
]
