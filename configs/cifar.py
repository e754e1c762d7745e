"""What cifar10.py and cifar100.py share."""

from configs.common import get_common_config, set_all_methods
from configs.presets import parse

# FastDFKD's weights (adv, oh) by the teacher's family.
WEIGHTS = {"resnet": (1.33, 0.5), "vgg": (1.0, 0.5), "wrn": (1.1, 0.4)}
# FastDFKD's presets: g_steps, lr_g, lr_z.
FAST = {"fastdfkd2": (2, 5e-3, 0.015), "fastdfkd5": (5, 3e-3, 0.01), "fastdfkd10": (10, 2e-3, 0.01)}


def get_cifar_config(dataset, argument):
    """The config of a published pair of networks, or of any other."""
    (teacher, student), words = parse(argument, ("resnet34", "resnet18"), sizes=("small", *FAST))
    c = get_common_config()
    c.dataset = dataset
    c.teacher.name, c.student.name = teacher, student
    for family, (adv, oh) in WEIGHTS.items():
        if teacher.startswith(family):
            set_all_methods(c, adv=adv, oh=oh)
    if teacher.endswith("_option_a"):
        c.normalization = "imagenet"  # as akamaster's public checkpoints expect
    if "small" in words:
        c.teacher.epochs = 10
        c.epochs = 120
        c.generator.latent_size = 128
        c.generator.width = 32
        c.evaluate_every = 10
        c.checkpoint_every = 5
        set_all_methods(c, warmup_epochs=10, synthesis_batch_size=128, kd_steps=40, kd_batch_size=128)
    for word, (steps, generator_learning_rate, latent_learning_rate) in FAST.items():
        if word in words:
            c.method = "fastdfkd"
            c.fastdfkd.inversion_steps = steps
            c.fastdfkd.generator_learning_rate = generator_learning_rate
            c.fastdfkd.latent_learning_rate = latent_learning_rate
    return c
