"""DeepLabV3 in plain torch.nn with the public names: what its backbones and its head do to a feature map."""

import torch
from torch import nn
from torch.nn import functional

RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
# (expansion, channels) of MobileNetV2's blocks; which are strided, and how dilated each is, by output stride.
MOBILE = [(1, 16), *2 * [(6, 24)], *3 * [(6, 32)], *4 * [(6, 64)], *3 * [(6, 96)], *3 * [(6, 160)], (6, 320)]
DILATIONS = {8: [1] * 7 + [2] * 7 + [4] * 3, 16: [1] * 14 + [2] * 3}
STRIDED = {8: (1, 3), 16: (1, 3, 6)}


def conv_bn(inputs, outputs, size, activation=nn.ReLU, **kwargs):
    layers = [nn.Conv2d(inputs, outputs, size, bias=False, **kwargs), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, activation()) if activation else nn.Sequential(*layers)


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, stride, dilation, expansion):
        super().__init__()
        wide = expansion * inputs
        expand = [] if expansion == 1 else [conv_bn(inputs, wide, 1, nn.ReLU6)]
        each = conv_bn(wide, wide, 3, nn.ReLU6, stride=stride, dilation=dilation, groups=wide)
        self.conv = nn.Sequential(*expand, each, *conv_bn(wide, outputs, 1, None))
        self.border, self.residual = 4 * [dilation], stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.conv(functional.pad(x, self.border))
        return x + y if self.residual else y


class Mobile(nn.Module):
    width = 320

    def __init__(self, output_stride):
        super().__init__()
        blocks, inputs = [conv_bn(3, 32, 3, nn.ReLU6, stride=2)], 32
        for i, (expansion, outputs) in enumerate(MOBILE):
            stride = 2 if i in STRIDED[output_stride] else 1
            blocks.append(Inverted(inputs, outputs, stride, DILATIONS[output_stride][i], expansion))
            inputs = outputs
        features = nn.Sequential(*blocks)
        self.low_level_features, self.high_level_features = features[:4], features[4:]

    def forward(self, x):
        return self.high_level_features(self.low_level_features(x))


class Pooling(nn.Sequential):
    def __init__(self, inputs):
        super().__init__(nn.AdaptiveAvgPool2d(1), *conv_bn(inputs, 256, 1))

    def forward(self, x):
        return super().forward(x).expand(-1, -1, *x.shape[2:])


class Pyramid(nn.Module):
    def __init__(self, inputs, rates):
        super().__init__()
        dilated = [conv_bn(inputs, 256, 3, padding=rate, dilation=rate) for rate in rates]
        self.convs = nn.ModuleList([conv_bn(inputs, 256, 1), *dilated, Pooling(inputs)])
        self.project = conv_bn(1280, 256, 1)

    def forward(self, x):
        return self.project(torch.cat([look(x) for look in self.convs], 1))


class DeepLab(nn.Module):
    def __init__(self, backbone, classes, output_stride):
        super().__init__()
        self.backbone, self.classifier = backbone, nn.Module()
        pyramid = Pyramid(backbone.width, RATES[output_stride])
        self.classifier.classifier = nn.Sequential(
            pyramid, *conv_bn(256, 256, 3, padding=1), nn.Conv2d(256, classes, 1)
        )

    def forward(self, x):
        logits = self.classifier.classifier(self.backbone(x))
        return functional.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=False)


def mobilenet(classes, output_stride):
    return DeepLab(Mobile(output_stride), classes, output_stride)
