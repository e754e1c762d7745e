"""Every public network in plain torch.nn with the public names."""

import re

import torch
from torch import nn
from torch.nn import functional

from tests.models import torch_deeplab

# Several threads wait for each other a hundred times longer than they compute where other tests keep the cores busy.
torch.set_num_threads(1)


class ConvBn(nn.Sequential):
    def __init__(self, inputs, outputs, size, stride=1, groups=1, activation=None):
        convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), *([activation] if activation else []))


def add_conv_bn(module, sizes):
    """conv1, bn1, conv2, ... of (inputs, outputs, size, stride, groups)."""
    for number, (inputs, outputs, size, stride, groups) in enumerate(sizes, start=1):
        convolution, batch_norm = ConvBn(inputs, outputs, size, stride, groups)
        setattr(module, f"conv{number}", convolution)
        setattr(module, f"bn{number}", batch_norm)


class BasicBlock(nn.Module):
    def __init__(self, inputs, features, stride, shortcut):
        super().__init__()
        self.missing, self.shortcut_name = features - inputs, shortcut
        self.changes_shape = stride != 1 or inputs != features
        add_conv_bn(self, [(inputs, features, 3, stride, 1), (features, features, 3, 1, 1)])
        if shortcut and self.changes_shape:
            setattr(self, shortcut, ConvBn(inputs, features, 1, stride))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.skip(x)).relu()

    def skip(self, x):
        if not self.changes_shape:
            return x
        if self.shortcut_name:
            return getattr(self, self.shortcut_name)(x)
        half = self.missing // 2
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half))


class Bottleneck(nn.Module):
    def __init__(self, inputs, features, stride, shortcut):
        super().__init__()
        wide = 4 * features
        add_conv_bn(self, [(inputs, features, 1, 1, 1), (features, features, 3, stride, 1), (features, wide, 1, 1, 1)])
        self.shortcut_name = shortcut if stride != 1 or inputs != wide else None
        if self.shortcut_name:
            setattr(self, shortcut, ConvBn(inputs, wide, 1, stride))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        skip = getattr(self, self.shortcut_name)(x) if self.shortcut_name else x
        return (self.bn3(self.conv3(y)) + skip).relu()


class ResNet(nn.Module):
    def __init__(self, features, blocks, classes, *, shortcut, classifier, stem=3, block=BasicBlock):
        super().__init__()
        first, *features = features
        self.conv1, self.bn1 = ConvBn(3, first, stem, 2 if stem == 7 else 1)
        self.pool = nn.MaxPool2d(3, 2, 1) if stem == 7 else nn.Identity()
        stages = []
        for i, (width, count) in enumerate(zip(features, blocks, strict=True)):
            strides = [1 if i == 0 else 2, *[1] * (count - 1)]
            outputs = 4 * width if block is Bottleneck else width
            inputs = [first, *[outputs] * (count - 1)]
            stage = [block(a, width, stride, shortcut) for a, stride in zip(inputs, strides, strict=True)]
            stages.append(nn.Sequential(*stage))
            setattr(self, f"layer{i + 1}", stages[-1])
            first = outputs
        setattr(self, classifier, nn.Linear(first, classes))
        # A list, unlike a module list, adds no names.
        self.rest = [*stages, Mean(), getattr(self, classifier)]

    def forward(self, x):
        x = self.pool(self.bn1(self.conv1(x)).relu())
        for part in self.rest:
            x = part(x)
        return x


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class WideBlock(nn.Module):
    def __init__(self, inputs, features, stride):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(features)
        self.conv1 = nn.Conv2d(inputs, features, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
        if inputs != features:
            self.convShortcut = nn.Conv2d(inputs, features, 1, stride, bias=False)

    def forward(self, x):
        activated = self.bn1(x).relu()
        y = self.conv2(self.bn2(self.conv1(activated)).relu())
        return y + (self.convShortcut(activated) if hasattr(self, "convShortcut") else x)


class WideStage(nn.Module):
    def __init__(self, inputs, features, stride, count):
        super().__init__()
        rest = [WideBlock(features, features, 1) for _ in range(count - 1)]
        self.layer = nn.Sequential(WideBlock(inputs, features, stride), *rest)


class WideResNet(nn.Module):
    def __init__(self, depth, width, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        count = (depth - 4) // 6
        self.block1 = WideStage(16, 16 * width, 1, count)
        self.block2 = WideStage(16 * width, 32 * width, 2, count)
        self.block3 = WideStage(32 * width, 64 * width, 2, count)
        self.bn1, self.fc = nn.BatchNorm2d(64 * width), nn.Linear(64 * width, classes)

    def forward(self, x):
        x = self.conv1(x)
        for block in (self.block1, self.block2, self.block3):
            x = block.layer(x)
        return self.fc(self.bn1(x).relu().mean((2, 3)))


VGG_BLOCKS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class Vgg(nn.Module):
    def __init__(self, blocks, classes):
        super().__init__()
        inputs = 3
        for i, (features, count) in enumerate(zip((64, 128, 256, 512, 512), blocks, strict=True)):
            layers = []
            for _ in range(count):
                layers += [nn.Conv2d(inputs, features, 3, padding=1), nn.BatchNorm2d(features), nn.ReLU()]
                inputs = features
            setattr(self, f"block{i}", nn.Sequential(*layers))
        self.classifier = nn.Linear(512, classes)

    def forward(self, x):
        for block in (self.block0, self.block1, self.block2):
            x = functional.max_pool2d(block(x), 2)
        return self.classifier(self.block4(self.block3(x)).mean((2, 3)))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        wide = inputs * expansion
        expand = [] if expansion == 1 else [ConvBn(inputs, wide, 1, activation=nn.ReLU6())]
        by_channel = ConvBn(wide, wide, 3, stride, groups=wide, activation=nn.ReLU6())
        self.conv = nn.Sequential(*expand, by_channel, *ConvBn(wide, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes):
        super().__init__()
        outputs = [16] + 2 * [24] + 3 * [32] + 4 * [64] + 3 * [96] + 3 * [160] + [320]
        strided = {1, 3, 6, 13}
        blocks = [
            InvertedResidual(a, b, 2 if i in strided else 1, 1 if i == 0 else 6)
            for i, (a, b) in enumerate(zip([32, *outputs], outputs, strict=False))
        ]
        stem, last = ConvBn(3, 32, 3, 2, activation=nn.ReLU6()), ConvBn(320, 1280, 1, activation=nn.ReLU6())
        self.features = nn.Sequential(stem, *blocks, last)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class ShuffleBlock(nn.Module):
    """Left and right branch of the first block of a stage; of the others only the right one has layers."""

    def __init__(self, inputs, outputs):
        super().__init__()
        half = outputs // 2
        self.down = inputs != outputs
        if self.down:
            left = [(inputs, inputs, 3, 2, inputs), (inputs, half, 1, 1, 1)]
            add_conv_bn(self, [*left, (inputs, half, 1, 1, 1), (half, half, 3, 2, half), (half, half, 1, 1, 1)])
        else:
            add_conv_bn(self, [(half, half, 1, 1, 1), (half, half, 3, 1, half), (half, half, 1, 1, 1)])

    def forward(self, x):
        if self.down:
            left = self.bn2(self.conv2(self.bn1(self.conv1(x)))).relu()
            right = self.bn4(self.conv4(self.bn3(self.conv3(x)).relu()))
            right = self.bn5(self.conv5(right)).relu()
        else:
            left, right = x.chunk(2, 1)
            right = self.bn2(self.conv2(self.bn1(self.conv1(right)).relu()))
            right = self.bn3(self.conv3(right)).relu()
        return functional.channel_shuffle(torch.cat([left, right], 1), 2)


class ShuffleNetV2(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = ConvBn(3, 24, 1)
        inputs = 24
        for stage, (features, count) in enumerate([(116, 4), (232, 8), (464, 4)], start=1):
            blocks = [ShuffleBlock(inputs if i == 0 else features, features) for i in range(count)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            inputs = features
        self.conv2, self.bn2 = ConvBn(464, 1024, 1)
        self.linear = nn.Linear(1024, classes)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(self.layer3(self.layer2(self.layer1(x))))).relu()
        return self.linear(x.mean((2, 3)))


class LeNet5(nn.Module):
    def __init__(self, classes):
        super().__init__()
        first, second = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        pooled = [nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(first, *pooled, second, *pooled, nn.Conv2d(16, 120, 5), nn.ReLU())
        self.fc = nn.Sequential(nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes))

    def forward(self, x):
        return self.fc(self.features(x).flatten(1))


def _tiny(depth, wide, option_a, classes):
    features = (32, 64, 128, 256) if wide else (16, 16, 32, 64)
    shortcut, classifier = (None, "linear") if option_a else ("downsample", "fc")
    return ResNet(features, [(depth - 2) // 6] * 3, classes, shortcut=shortcut, classifier=classifier)


def _resnet(depth, imagenet, classes):
    blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth]
    names = (
        {"shortcut": "downsample", "classifier": "fc"} if imagenet else {"shortcut": "shortcut", "classifier": "linear"}
    )
    block, stem = Bottleneck if depth == 50 else BasicBlock, 7 if imagenet else 3
    return ResNet((64, 64, 128, 256, 512), blocks, classes, stem=stem, block=block, **names)


def build(name, classes):
    """The network called `name`, or None where this file has none."""
    if found := re.fullmatch(r"resnet(18|34|50)(_imagenet)?", name):
        return _resnet(int(found[1]), bool(found[2]), classes)
    if found := re.fullmatch(r"resnet(\d+)(x4)?(_option_a)?", name):
        return _tiny(int(found[1]), bool(found[2]), bool(found[3]), classes)
    if found := re.fullmatch(r"wrn(\d+)_(\d+)", name):
        return WideResNet(int(found[1]), int(found[2]), classes)
    if found := re.fullmatch(r"vgg(\d+)", name):
        return Vgg(VGG_BLOCKS[int(found[1])], classes)
    if name == "lenet5":
        return LeNet5(classes)
    if name.startswith("deeplabv3_mobilenet"):
        return torch_deeplab.mobilenet(classes, output_stride=16 if name.endswith("_os16") else 8)
    if name.startswith("mobilenetv2"):
        return MobileNetV2(classes)
    return ShuffleNetV2(classes) if name == "shufflenetv2" else None
