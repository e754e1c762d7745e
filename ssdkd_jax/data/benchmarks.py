"""The benchmarks of this field: what is known of a data set without its files."""

import re
from typing import NamedTuple

_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
wolf woman worm
"""
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_DIGITS = tuple("0123456789")


def base_name(name: str) -> str:
    """The name of a TFDS set without config and version, such as that of 'cifar10:3.0.2'; other names as they are."""
    found = re.fullmatch(r"(\w+)(/[\w.+-]+)?(:[\d.*]+)?", name)
    return found[1] if found else name


class Benchmark(NamedTuple):
    """One data set.

    image_shape: (h, w, c); None where only the prepared files hold what the images are.
    sizes: number of images of "train" and "test"; empty without image_shape.
    class_names: in the order of the labels; empty without image_shape.
    mean, std: per channel, on the scale of [0, 1], with which the public PyTorch weights of this field were trained
      (zju-vipa/Fast-Datafree); None where there are no such weights.
    """

    image_shape: tuple[int, int, int] | None
    sizes: dict[str, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


# A teacher must see the numbers that it was trained with, so mean and std stay as published even where they are not
# the exact statistics of the set.
_IMAGENET = Benchmark(None, {}, (), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
BENCHMARKS = {
    "cifar10": Benchmark(
        (32, 32, 3),
        {"train": 50_000, "test": 10_000},
        _CIFAR10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
    ),
    "cifar100": Benchmark(
        (32, 32, 3),
        {"train": 50_000, "test": 10_000},
        tuple(_CIFAR100.split()),
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
    ),
    "imagenet": _IMAGENET,
    "imagenet2012": _IMAGENET,
    "imagenet2012_subset": _IMAGENET,
    "fashion_mnist": Benchmark((28, 28, 1), {"train": 60_000, "test": 10_000}, _CLOTHES, mean=(0.2860,), std=(0.3530,)),
    "mnist": Benchmark((28, 28, 1), {"train": 60_000, "test": 10_000}, _DIGITS),
    "svhn_cropped": Benchmark((32, 32, 3), {"train": 73_257, "test": 26_032}, _DIGITS),
}
