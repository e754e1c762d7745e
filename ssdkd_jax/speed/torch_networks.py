"""Networks of this project in PyTorch, with the parameters' public names; needs torch and not JAX."""

import re

import torch
from torch import nn
from torch.nn import functional


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A square convolution that keeps the size of the image where its stride is 1."""
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=bias)


class PreActivatedBlock(nn.Module):
    """BatchNorm and ReLU before each of two convolutions."""

    def __init__(self, inputs, features, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), convolution(inputs, features, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(features), convolution(features, features, 3)
        self.convShortcut = None if inputs == features else convolution(inputs, features, 1, stride)

    def forward(self, x):
        activated = functional.relu(self.bn1(x), inplace=True)
        y = self.conv2(functional.relu(self.bn2(self.conv1(activated)), inplace=True))
        return y + (x if self.convShortcut is None else self.convShortcut(activated))


class Stage(nn.Module):
    """Blocks in a row; named as in the public wide residual networks."""

    def __init__(self, blocks):
        super().__init__()
        self.layer = nn.Sequential(*blocks)

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    """Zagoruyko & Komodakis, BMVC 2016."""

    def __init__(self, depth, width, classes, channels):
        super().__init__()
        self.conv1, features = convolution(channels, 16, 3), [16, 16 * width, 32 * width, 64 * width]
        count = (depth - 4) // 6
        self.block1, self.block2, self.block3 = (
            Stage(_row(PreActivatedBlock, count, inputs, outputs, stride))
            for inputs, outputs, stride in zip(features, features[1:], (1, 2, 2), strict=False)
        )
        self.bn1, self.fc = nn.BatchNorm2d(features[-1]), nn.Linear(features[-1], classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(functional.relu(self.bn1(x), inplace=True).mean((2, 3)))


class BasicBlock(nn.Module):
    """Two convolutions; `projection` names the projecting shortcut, "" pads with zero channels."""

    projection = "shortcut"

    def __init__(self, inputs, features, stride):
        super().__init__()
        self.conv1, self.bn1 = convolution(inputs, features, 3, stride), nn.BatchNorm2d(features)
        self.conv2, self.bn2 = convolution(features, features, 3), nn.BatchNorm2d(features)
        self.stride, self.missing = stride, features - inputs
        if self.projection and (stride != 1 or self.missing):
            layers = nn.Sequential(convolution(inputs, features, 1, stride), nn.BatchNorm2d(features))
            self.add_module(self.projection, layers)

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(y)) + self.skip(x), inplace=True)

    def skip(self, x):
        """The input in the shape of the output."""
        if self.stride == 1 and not self.missing:
            return x
        if self.projection:
            return getattr(self, self.projection)(x)
        half = self.missing // 2
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.missing - half))


class DownsampledBlock(BasicBlock):
    """BasicBlock with CMI's name of the projection."""

    projection = "downsample"


class PaddedBlock(BasicBlock):
    """BasicBlock with the shortcut that has no parameters, "option A"."""

    projection = ""


class ResNet(nn.Module):
    """He et al., CVPR 2016, with a stem for small images; `features` are those of the stem and of every stage."""

    def __init__(self, block, counts, features, classifier, classes, channels):
        super().__init__()
        self.conv1, self.bn1 = convolution(channels, features[0], 3), nn.BatchNorm2d(features[0])
        self.depth, self.classifier = len(counts), classifier
        for stage, count in enumerate(counts):
            inputs, outputs = features[stage : stage + 2]
            blocks = _row(block, count, inputs, outputs, 2 if stage else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.add_module(classifier, nn.Linear(features[-1], classes))

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        for stage in range(self.depth):
            x = getattr(self, f"layer{stage + 1}")(x)
        return getattr(self, self.classifier)(x.mean((2, 3)))


class ConvNet(nn.Module):
    """Convolutions with BatchNorm and ReLU; this project's own."""

    def __init__(self, features, strides, classes, channels):
        super().__init__()
        self.depth, widths = len(strides), (channels, *features)
        for i, stride in enumerate(strides):
            self.add_module(f"conv{i + 1}", convolution(widths[i], widths[i + 1], 3, stride))
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x):
        for i in range(1, self.depth + 1):
            x = functional.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)), inplace=True)
        return self.fc(x.mean((2, 3)))


class Generator(nn.Module):
    """FastDFKD's generator (AAAI 2022): a linear layer, then up-sampling and convolution, block by block."""

    def __init__(self, image_shape, latent_size, features):
        super().__init__()
        height, width, channels = image_shape
        scale = 2 ** len(features)
        self.first = (features[0], height // scale, width // scale)
        self.l1 = nn.Sequential(nn.Linear(latent_size, features[0] * self.first[1] * self.first[2]))
        layers = [nn.BatchNorm2d(features[0])]
        for inputs, outputs in zip((features[0], *features), features, strict=False):
            layers += [nn.Upsample(scale_factor=2), convolution(inputs, outputs, 3, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2, inplace=True)]
        self.conv_blocks = nn.Sequential(*layers, convolution(features[-1], channels, 3, bias=True))

    def forward(self, latents):
        return torch.sigmoid(self.conv_blocks(self.l1(latents).view(-1, *self.first)).float())


def _row(block, count, inputs, outputs, stride):
    """Blocks of which the first changes channels and resolution."""
    return [block(inputs if i == 0 else outputs, outputs, stride if i == 0 else 1) for i in range(count)]


_SMALL_RESNETS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
_TINY_DEPTHS = ("8", "14", "20", "32", "44", "56", "110")


def create(name: str, classes: int, channels: int) -> nn.Module:
    """Makes the network that `models.create_model` knows by this name.

    Raises:
      ValueError: it is not written here.
    """
    if name in _SMALL_RESNETS:
        return ResNet(BasicBlock, _SMALL_RESNETS[name], (64, 64, 128, 256, 512), "linear", classes, channels)
    wide, tiny, plain = (
        re.fullmatch(pattern, name)
        for pattern in (r"wrn(\d+)_(\d+)", r"resnet(\d+)(x4|_option_a)?", r"(strided_)?convnet_(\d+)")
    )
    if wide:
        return WideResNet(int(wide[1]), int(wide[2]), classes, channels)
    if tiny and tiny[1] in _TINY_DEPTHS:
        features = (32, 64, 128, 256) if tiny[2] == "x4" else (16, 16, 32, 64)
        block, classifier = (PaddedBlock, "linear") if tiny[2] == "_option_a" else (DownsampledBlock, "fc")
        return ResNet(block, [(int(tiny[1]) - 2) // 6] * 3, features, classifier, classes, channels)
    if plain:
        w = int(plain[2])
        shape = ((w, 2 * w, 2 * w, 4 * w), (2, 2, 1, 2)) if plain[1] else ((w, 2 * w, 4 * w), (1, 2, 2))
        return ConvNet(*shape, classes, channels)
    raise ValueError(f"there is no {name} here")
