"""What the registry states about a network: how it is made, its public PyTorch definition and its normalization."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn

DATAFREE = "https://github.com/zju-vipa/Fast-Datafree (and CMI), on the path as `datafree`"
AKAMASTER = "https://github.com/akamaster/pytorch_resnet_cifar10, whose resnet.py is on the path"
REPDISTILLER = "https://github.com/HobbitLong/RepDistiller, on the path as `models`"
TORCHVISION = "torchvision"

_FIRST_LAYER = """first = model.{layer}
model.{layer} = torch.nn.Conv2d(
    {channels}, first.out_channels, first.kernel_size, first.stride, first.padding, bias=first.bias is not None
)
"""


class Definition(NamedTuple):
    """Lines of Python that make a network in PyTorch, which takes our exported weights with `strict=True`.

    source: where the definition is found; "" for networks that only this project has, whose code is in `lines`.
    lines: Python, after `import torch`; they set `model`.
    last_map: path of the module whose output is the last feature map, but for a ReLU; "" where there is none.
    """

    source: str
    lines: str
    last_map: str = ""


class Architecture(NamedTuple):
    """One network of the registry.

    make: (num_classes=..., layers=Layers) -> Linen module.
    definition: (num_classes, image channels, (height, width)) -> Definition; None where there is none.
    normalization: what its public checkpoints expect whatever their data set is, a name that
      `data.chosen_normalization` knows; "" where they expect that of their data set.
    task: "classification", logits (n, classes), or "segmentation", logits (n, h, w, classes).
    """

    make: Callable[..., nn.Module]
    definition: Callable[[int, int, tuple[int, int]], Definition] | None = None
    normalization: str = ""
    task: str = "classification"


def published(
    source: str,
    module: str,
    constructor: str,
    *,
    imports: str = "",
    first_layer: str = "conv1",
    channels: int = 3,
    other_sizes: str = "",
    last_map: str = "",
) -> Callable[[int, int, tuple[int, int]], Definition]:
    """Makes the `definition` of an Architecture whose PyTorch code is public.

    Args:
      source: where the code is found.
      module: that the constructor is imported from.
      constructor: Python, with {classes} for the number of classes.
      imports: names to import; "" is the constructor's.
      first_layer: path of the first convolution, which is replaced for images of other channels.
      channels: of the images that the code is for.
      other_sizes: lines that are added for images other than 32x32, which fit the code to them.
      last_map: as of Definition.

    Returns:
      a function (num_classes, image channels, (height, width)) -> Definition.
    """

    def definition(num_classes, image_channels, image_size):
        names = imports or constructor.partition("(")[0]
        lines = f"from {module} import {names}\n\nmodel = {constructor.format(classes=num_classes)}\n"
        if image_channels != channels:
            lines += _FIRST_LAYER.format(layer=first_layer, channels=image_channels)
        if image_size != (32, 32):
            lines += other_sizes
        return Definition(source, lines, last_map)

    return definition
