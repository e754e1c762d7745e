"""PyTorch names and files, in both directions.

Only reading and writing PyTorch files needs torch, which is imported when they are.
"""

from ssdkd_jax.interop.naming import LayoutError
from ssdkd_jax.interop.torch_files import load_torch_file
from ssdkd_jax.interop.torch_weights import (
    classes_and_channels,
    describe_closest,
    from_torch_state_dict,
    infer_architecture,
    is_simkd,
    to_torch_state_dict,
    without_common_prefix,
)

__all__ = [
    "LayoutError",
    "classes_and_channels",
    "describe_closest",
    "from_torch_state_dict",
    "infer_architecture",
    "is_simkd",
    "load_torch_file",
    "to_torch_state_dict",
    "without_common_prefix",
]
