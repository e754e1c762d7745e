"""What cifar10.py and cifar100.py share."""

from configs.common import get_common_config
from configs.presets import parse

# FastDFKD's weights (adv, oh) by the teacher's family.
WEIGHTS = {"resnet": (1.33, 0.5), "vgg": (1.0, 0.5), "wrn": (1.1, 0.4)}


def get_cifar_config(dataset, argument):
    """The config of a published pair of networks, or of any other."""
    (teacher, student), words = parse(argument, ("resnet34", "resnet18"), sizes=("small",))
    c = get_common_config()
    c.dataset = dataset
    c.teacher.name, c.student.name = teacher, student
    for family, (adv, oh) in WEIGHTS.items():
        if teacher.startswith(family):
            c.ssdkd.adv, c.ssdkd.oh = adv, oh
    if teacher.endswith("_option_a"):
        c.normalization = "imagenet"  # as akamaster's public checkpoints expect
    if "small" in words:
        c.teacher.epochs = 10
        c.epochs = 120
        c.generator.latent_size = 128
        c.generator.width = 32
        c.evaluate_every = 10
        c.checkpoint_every = 5
        c.ssdkd.warmup_epochs = 10
        c.ssdkd.synthesis_batch_size = 128
        c.ssdkd.kd_steps = 40
        c.ssdkd.kd_batch_size = 128
    return c
