"""Small segmentation networks that two CPU cores can train: an encoder, and a decoder that adds the encoder's maps."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.models.architecture import Architecture, Definition
from ssdkd_jax.models.layers import Layers, resize_bilinear, torch_default, torch_default_bias


class EncoderDecoder(nn.Module):
    """Down to an eighth of the resolution and back to a half, whose logits are stretched to the images' size.

    Attributes:
      width: channels at half the resolution; a quarter has twice, an eighth four times as many.

    See `create_model` for the arguments of `__call__`.
    """

    width: int
    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, return_features: bool = False):
        layers, w, size = self.layers, self.width, x.shape[1:3]

        def activated(x, channels, number, kernel=3, stride=1):
            x = layers.conv(channels, kernel, f"conv{number}", stride=stride)(x)
            return nn.relu(layers.batch_norm(train, f"bn{number}")(x))

        half = activated(x, w, 1, stride=2)
        quarter = activated(half, 2 * w, 2, stride=2)
        x = activated(quarter, 4 * w, 3, stride=2)
        x = activated(x, 4 * w, 4)
        x = resize_bilinear(activated(x, 2 * w, 5, kernel=1), quarter.shape[1:3]) + quarter
        x = activated(x, 2 * w, 6)
        x = resize_bilinear(activated(x, w, 7, kernel=1), half.shape[1:3]) + half
        x = activated(x, w, 8).astype(jnp.float32)
        last = layers.conv(
            self.num_classes,
            1,
            "classifier",
            use_bias=True,
            init=torch_default,
            bias_init=torch_default_bias(w),
            dtype=jnp.float32,
        )
        logits = resize_bilinear(last(x), size)
        return (logits, x) if return_features else logits


_IN_PYTORCH = """from torch.nn.functional import interpolate


class EncoderDecoder(torch.nn.Module):  # of ssdkd_jax, where it is called {name}
    def __init__(self, channels, w, classes):
        super().__init__()
        sizes = [(channels, w, 3, 2), (w, 2 * w, 3, 2), (2 * w, 4 * w, 3, 2), (4 * w, 4 * w, 3, 1)]
        sizes += [(4 * w, 2 * w, 1, 1), (2 * w, 2 * w, 3, 1), (2 * w, w, 1, 1), (w, w, 3, 1)]
        for i, (inputs, outputs, kernel, stride) in enumerate(sizes, start=1):
            self.add_module(f"conv{{i}}", torch.nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False))
            self.add_module(f"bn{{i}}", torch.nn.BatchNorm2d(outputs))
        self.classifier = torch.nn.Conv2d(w, classes, 1)

    def activated(self, x, number):
        return getattr(self, f"bn{{number}}")(getattr(self, f"conv{{number}}")(x)).relu()

    def forward(self, images):
        half = self.activated(images, 1)
        quarter = self.activated(half, 2)
        x = self.activated(self.activated(quarter, 3), 4)
        x = interpolate(self.activated(x, 5), quarter.shape[2:], mode="bilinear") + quarter
        x = interpolate(self.activated(self.activated(x, 6), 7), half.shape[2:], mode="bilinear") + half
        return interpolate(self.classifier(self.activated(x, 8)), images.shape[2:], mode="bilinear")


model = EncoderDecoder({channels}, {width}, {classes})
"""


def _architecture(name, width):
    def definition(num_classes, image_channels, image_size):
        del image_size
        lines = _IN_PYTORCH.format(name=name, width=width, channels=image_channels, classes=num_classes)
        return Definition("", lines)

    return Architecture(functools.partial(EncoderDecoder, width=width), definition, task="segmentation")


ARCHITECTURES = {f"encoder_decoder_{width}": _architecture(f"encoder_decoder_{width}", width) for width in (8, 16, 32)}
