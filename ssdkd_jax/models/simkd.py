"""A student that a teacher's own classifier completes: SimKD (CVPR 2022, arXiv 2203.14001).

A projector takes the student's last feature map to the teacher's channels; the classifier on top is the teacher's, and
the student's own is left out.  The parts are one network, named STUDENT_simkd_TEACHER, which needs no teacher to run.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.models.architecture import Definition
from ssdkd_jax.models.layers import Layers

# Between the two names of a network's name.
JOINT = "_simkd_"
CLASSIFIER = "classifier"
# Channels of the teacher's map for one of the projector's inner ones, as published.
FACTOR = 2


class SimKD(nn.Module):
    """Student backbone, projector and classifier.

    The student's map is averaged to the size of the teacher's where that is smaller.  The projector's layers are named
    as in DefangChen/SimKD.  `return_features="map"` gives the projected map.

    Attributes:
      backbone: the student.
      teacher_map: image shape (h, w, c) -> shape (h', w', c') of the teacher's last map.
      num_classes: of the teacher's classifier.
      layers: Layers of the projector.

    See `create_model` for the arguments of `__call__`.
    """

    backbone: nn.Module
    teacher_map: Callable
    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, return_features: bool | str = False):
        layers = self.layers
        height, width, channels = self.teacher_map(x.shape[1:])
        x = self.backbone(x, train=train, return_features="map")
        x = averaged_to(x, (min(x.shape[1], height), min(x.shape[2], width)))
        for entry, (features, size) in enumerate(((channels // FACTOR, 1), (channels // FACTOR, 3), (channels, 1))):
            # Convolution, BatchNorm and ReLU are three entries of one PyTorch Sequential.
            x = layers.conv(features, size, f"transfer.{3 * entry}")(x)
            x = nn.relu(layers.batch_norm(train, f"transfer.{3 * entry + 1}")(x))
        return layers.classify(x, self.num_classes, CLASSIFIER, return_features=return_features)


def averaged_to(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Averages over parts of a map, as PyTorch's `adaptive_avg_pool2d`: (n, h, w, c) -> (n, *size, c)."""
    if x.shape[1:3] == tuple(size):
        return x
    rows, columns = (_parts(length, parts).astype(x.dtype) for length, parts in zip(x.shape[1:3], size, strict=True))
    return jnp.einsum("nhwc,ih,jw->nijc", x, rows, columns)


def _parts(length, parts):
    """(parts, length): the weights of each part's mean; neighbors overlap where the length is no multiple of parts."""
    number, place = jnp.arange(parts)[:, None], jnp.arange(length)
    inside = (place >= number * length // parts) & (place < -(-(number + 1) * length // parts))
    return inside / jnp.sum(inside, axis=1, keepdims=True)


def map_distance(one: jax.Array, other: jax.Array) -> jax.Array:
    """SimKD's loss per sample: the mean squared difference of two maps, averaged to the smaller of their two sizes.

    Args:
      one, other: (n, h, w, c) of equal channels.

    Returns:
      (n,) float32.
    """
    size = tuple(min(sides) for sides in zip(one.shape[1:3], other.shape[1:3], strict=True))
    difference = averaged_to(one, size).astype(jnp.float32) - averaged_to(other, size).astype(jnp.float32)
    return jnp.mean(jnp.square(difference), axis=(1, 2, 3))


@functools.cache
def map_shape(model: nn.Module, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Shape (h, w, c) of a network's last feature map for images of this shape."""
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    make = functools.partial(model.init_with_output, return_features="map")
    return jax.eval_shape(make, jax.random.key(0), images)[0].shape[1:]


@functools.cache
def classifier_path(model: nn.Module, image_shape: tuple[int, int, int]) -> str:
    """Name, dots included, of the linear layer that a network calls last."""
    called = []

    def note(next_function, args, kwargs, context):
        if isinstance(context.module, nn.Dense) and context.method_name == "__call__":
            called.append(context.module.path)
        return next_function(*args, **kwargs)

    with nn.intercept_methods(note):
        jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *image_shape), jnp.float32))
    return called[-1][-1]


_IN_PYTORCH = """

class SimKD(torch.nn.Module):  # of ssdkd_jax, where the whole network is called {name}
    def __init__(self, backbone, widths, classes):
        super().__init__()
        self.backbone = backbone
        parts = []
        for inputs, outputs, size in zip(widths, widths[1:], (1, 3, 1)):
            convolution = torch.nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
            parts += [convolution, torch.nn.BatchNorm2d(outputs), torch.nn.ReLU()]
        self.transfer = torch.nn.Sequential(*parts)
        self.classifier = torch.nn.Linear(widths[-1], classes)

    def forward(self, x):
        maps = []
        hook = self.backbone.get_submodule("{last_map}").register_forward_hook(lambda module, x, y: maps.append(y))
        self.backbone(x)
        hook.remove()
        x = maps[0]
        x = (x[0] if isinstance(x, tuple) else x).relu()
        x = self.transfer(torch.nn.functional.adaptive_avg_pool2d(x, {size}))
        return self.classifier(x.mean((2, 3)))


model.{classifier} = torch.nn.Identity()
model = SimKD(model, {widths}, {classes})
"""


def in_pytorch(
    name: str,
    student: Definition,
    classifier: str,
    student_map: tuple[int, int, int],
    teacher_map: tuple[int, int, int],
    num_classes: int,
) -> Definition:
    """The PyTorch definition of a SimKD network, which runs the student's own for its last map.

    Args:
      name: of the whole network.
      student: its Definition, with a `last_map`.
      classifier: path of the student's own classifier.
      student_map, teacher_map: shapes of the last maps.
      num_classes: of the classifier.
    """
    channels = teacher_map[-1]
    lines = _IN_PYTORCH.format(
        name=name,
        last_map=student.last_map,
        size=tuple(min(sides) for sides in zip(student_map[:2], teacher_map[:2], strict=True)),
        classifier=classifier,
        widths=(student_map[-1], channels // FACTOR, channels // FACTOR, channels),
        classes=num_classes,
    )
    return Definition(student.source, student.lines + lines)
