"""Which public PyTorch definition takes a network's exported weights with `strict=True`."""

import re
from typing import NamedTuple

from ssdkd_jax import models


class Definition(NamedTuple):
    """Lines of Python that make the network.

    source: where the definition is found; "" for networks that only this project has, whose code is in `lines`.
    lines: Python, after `import torch`; they set `model`.
    """

    source: str
    lines: str


DATAFREE = "https://github.com/zju-vipa/Fast-Datafree (and CMI), on the path as `datafree`"
AKAMASTER = "https://github.com/akamaster/pytorch_resnet_cifar10, whose resnet.py is on the path"
REPDISTILLER = "https://github.com/HobbitLong/RepDistiller, on the path as `models`"
TORCHVISION = "torchvision"

# (name of ours, source, module, constructor); \1 and \2 are the pattern's groups.  The first that matches counts.
_PUBLIC = (
    (r"wrn(16|40)_(1|2)", DATAFREE, "datafree.models.classifiers.wresnet", r"wrn_\1_\2(num_classes={classes})"),
    (
        r"wrn(\d+)_(\d+)",
        DATAFREE,
        "datafree.models.classifiers.wresnet",
        r"WideResNet(depth=\1, widen_factor=\2, num_classes={classes})",
    ),
    (r"resnet(\d+)_option_a", AKAMASTER, "resnet", r"ResNet(BasicBlock, [{blocks}] * 3, num_classes={classes})"),
    (r"(resnet\d+)_imagenet", TORCHVISION, "torchvision.models", r"\1(num_classes={classes})"),
    (r"mobilenetv2_imagenet", TORCHVISION, "torchvision.models", r"mobilenet_v2(num_classes={classes})"),
    (r"(resnet(?:18|34|50))", DATAFREE, "datafree.models.classifiers.resnet", r"\1(num_classes={classes})"),
    (r"(resnet(?:14|44))", REPDISTILLER, "models.resnet", r"\1(num_classes={classes})"),
    (r"(resnet\d+(?:x4)?)", DATAFREE, "datafree.models.classifiers.resnet_tiny", r"\1(num_classes={classes})"),
    (r"(vgg(?:8|11|13|16|19))", DATAFREE, "datafree.models.classifiers.vgg", r"\1_bn(num_classes={classes})"),
    (r"mobilenetv2", DATAFREE, "datafree.models.classifiers.mobilenetv2", r"mobilenet_v2(num_classes={classes})"),
    (r"shufflenetv2", DATAFREE, "datafree.models.classifiers.shufflenetv2", r"shuffle_v2(num_classes={classes})"),
    (r"lenet5", DATAFREE, "datafree.models.classifiers.lenet", r"LeNet5(num_classes={classes})"),
)

# Where a definition's first convolution is; "conv1" elsewhere.
_FIRST_LAYERS = {"vgg": "block0[0]", "mobilenetv2": "features[0][0]", "lenet5": "features[0]"}
_FIRST_LAYER = """first = model.{layer}
model.{layer} = torch.nn.Conv2d(
    {channels}, first.out_channels, first.kernel_size, first.stride, first.padding, bias=first.bias is not None
)
"""

_CONVNET = """
class ConvNet(torch.nn.Module):  # of ssdkd_jax, where it is called {name}
    def __init__(self, widths, strides, classes):
        super().__init__()
        self.depth = len(strides)
        for i, stride in enumerate(strides):
            convolution = torch.nn.Conv2d(widths[i], widths[i + 1], 3, stride, padding=1, bias=False)
            self.add_module(f"conv{{i + 1}}", convolution)
            self.add_module(f"bn{{i + 1}}", torch.nn.BatchNorm2d(widths[i + 1]))
        self.fc = torch.nn.Linear(widths[-1], classes)

    def forward(self, x):
        for i in range(1, self.depth + 1):
            x = getattr(self, f"bn{{i}}")(getattr(self, f"conv{{i}}")(x)).relu()
        return self.fc(x.mean((2, 3)))


model = ConvNet({widths}, {strides}, {classes})
"""


def _other_images(architecture, channels, image_size):
    """Lines that fit a public definition to images of other channels or another size than it is for."""
    lines = ""
    if channels != (1 if architecture == "lenet5" else 3):
        layer = next((path for family, path in _FIRST_LAYERS.items() if architecture.startswith(family)), "conv1")
        lines += _FIRST_LAYER.format(layer=layer, channels=channels)
    if image_size != (32, 32) and re.fullmatch(r"resnet(8|14|20|32|44|56|110)(x4)?", architecture):
        lines += "model.avgpool = torch.nn.AdaptiveAvgPool2d(1)  # the definition pools 8x8 maps\n"
    if image_size != (32, 32) and architecture == "shufflenetv2":
        lines += "# The definition takes 32x32 images only: in its forward, average over the whole map.\n"
    return lines


def definition_of(architecture, num_classes, channels, image_size=(32, 32)):
    """The Definition of one of `ssdkd_jax.models.model_names()`, for so many classes and such images.

    Args:
      architecture: its name.
      num_classes: of the classifier.
      channels: of the images.
      image_size: (height, width).
    """
    for pattern, source, module, constructor in _PUBLIC:
        found = re.fullmatch(pattern, architecture)
        if found:
            depth = re.search(r"\d+", architecture)
            blocks = (int(depth[0]) - 2) // 6 if depth else 0
            call = found.expand(constructor).format(classes=num_classes, blocks=blocks)
            names = ", ".join(re.findall(r"\b[A-Za-z]\w*(?=\(|, \[)", call))
            lines = f"from {module} import {names}\n\nmodel = {call}\n"
            return Definition(source, lines + _other_images(architecture, channels, image_size))
    network = models.create_model(architecture, num_classes)
    widths = (channels, *network.channels)
    code = _CONVNET.format(name=architecture, widths=widths, strides=network.strides, classes=num_classes)
    return Definition("", f"\n{code}")
