"""What cifar10.py and cifar100.py share."""

from configs.common import FAST_FAMILY, SSDKD, get_common_config, set_all_methods, shorten_hidfd, shorten_synthesis
from configs.presets import parse
from ssdkd_jax.errors import UserError
from ssdkd_jax.methods import METHODS

# FastDFKD's weights (adv, oh) by the teacher's family; NAYER has the same ones for all.
PAIR_WEIGHTED = tuple(name for name in FAST_FAMILY if name != "nayer")
WEIGHTS = {"resnet": (1.33, 0.5), "vgg": (1.0, 0.5), "wrn": (1.1, 0.4)}


def get_cifar_config(dataset, argument, *, buffer_size=5000):
    """The config of a published pair of networks, or of any other; `small` keeps 5,000 images at most."""
    (teacher, student), words = parse(
        argument, ("resnet34", "resnet18"), sizes=("small", "published_teacher", *METHODS)
    )
    c = get_common_config()
    c.dataset = dataset
    c.teacher.name, c.student.name = teacher, student
    set_all_methods(c, SSDKD, buffer_size=min(buffer_size, 5000) if "small" in words else buffer_size)
    for family, (adv, oh) in WEIGHTS.items():
        if teacher.startswith(family):
            set_all_methods(c, PAIR_WEIGHTED, adv=adv, oh=oh)
    # An epoch's 8,192 new views cost the teacher less than a tenth of the 102,400 images that the student sees.
    c.ssdkd.views = 32
    if teacher == "resnet34":
        set_all_methods(c, ("cmi", "cmi500"), feature_layers=("layer1.0", "layer2.0", "layer3.0", "layer4.0"))
    if teacher.endswith("_option_a"):
        c.normalization = "imagenet"  # as akamaster's public checkpoints expect
    if "published_teacher" in words:
        # As FastDFKD's public code trains its teachers.
        c.teacher.update(epochs=200, batch_size=256, weight_decay=1e-4, nesterov=False, schedule="steps")
    if "small" in words:
        _fit_two_cores(c, shorten_teacher="published_teacher" not in words)
    _choose_method(c, words)
    return c


def _fit_two_cores(c, shorten_teacher):
    """A schedule for two CPU cores."""
    if shorten_teacher:
        c.teacher.epochs = 10
    c.epochs = 100
    c.generator.latent_size = 128
    c.generator.width = 32
    c.evaluate_every = 10
    c.checkpoint_every = 5
    # Better at 16x16 pixels (docs/results.md): many small steps, and a student that begins with a full buffer whose
    # priorities no importance weights undo.
    set_all_methods(c, synthesis_batch_size=128, kd_steps=160, kd_batch_size=64)
    set_all_methods(c, FAST_FAMILY, warmup_epochs=10)
    set_all_methods(c, SSDKD, warmup_epochs=40)
    c.ssdkd.update(priority="kl", beta_start=0.0, beta_end=0.0, views=8)
    shorten_synthesis(c)
    shorten_hidfd(c, warmup_epochs=20, gan_steps=50, width=64, generated_images=50_000)


def _choose_method(c, words):
    """The method that one of the words names, with its published number of epochs where none are set."""
    chosen = [name for name in METHODS if name in words]
    if len(chosen) > 1:
        raise UserError(f"the argument names several methods: {', '.join(chosen)}; expected one, and compare for more")
    for name in chosen:
        c.method = name
        if "small" not in words:
            c.epochs = METHODS[name].method.epochs  # as published
