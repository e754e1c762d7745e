"""Every setting of a run that is not a method's: default, meaning and range.

configs/common.py makes a config of them; a method's own settings stand in its class.
"""

import dataclasses

from ssdkd_jax.settings import setting

_SEED = {"at_least": 0, "less_than": 2**31}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """`config.teacher`: where the teacher comes from, and how one is trained from real images."""

    name: str = setting("resnet34", 'architecture, or path/to/file.py:make; "" with a path: what the file says')
    path: str = setting("", 'a saved network\'s folder or a PyTorch file; "" trains one from real images, once')
    cache_dir: str = setting("runs/teachers", "where trained teachers are kept and found again")
    seed: int = setting(0, "of its training, so that runs of many seeds share one teacher", **_SEED)
    epochs: int = setting(200, "of its training: SGD with momentum 0.9, crop and flip as for the student", at_least=1)
    batch_size: int = setting(128, "images of a training step", at_least=1)
    learning_rate: float = setting(0.1, "of SGD, at the start", more_than=0)
    schedule: str = setting(
        "cosine",
        "of the learning rate: to 0, or times 0.2 at 60, 75 and 90 % of the epochs",
        choices=("cosine", "steps"),
    )
    nesterov: bool = setting(True, "Nesterov's momentum in place of the plain one")
    weight_decay: float = setting(5e-4, "of SGD", at_least=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """`config.student`."""

    name: str = setting("resnet18", "architecture, or path/to/file.py:make")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """`config.generator`."""

    latent_size: int = setting(256, "nz, length of a latent", at_least=1)
    width: int = setting(64, "ngf, channels of the generator's last block", at_least=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The fields of a config's first level."""

    method: str = setting("ssdkd", "a name of ssdkd_jax.methods, or path/to/file.py:ClassName")
    seed: int = setting(0, "of everything random", **_SEED)
    epochs: int = setting(
        220,
        "one synthesis and a number of student steps each; 0 only evaluates the teacher",
        at_least=0,
        at_most=10**7,
    )

    # Data.  Real images only train a missing teacher and evaluate.
    dataset: str = setting("digits", "digits, a TFDS name, folder:/path, or path/to/file.py:load")
    data_dir: str = setting("", 'where prepared TFDS sets are stored; "" is $TFDS_DATA_DIR or ~/tensorflow_datasets')
    image_size: int = setting(
        0, "every image is resized to this height and width; 0 keeps them as they are", at_least=0
    )
    image_shape: tuple[int, ...] = setting(
        (0, 0, 0), "(h, w, c), only for a data set that is not built in; zeros: the data set's own"
    )
    normalization: str = setting(
        "", "cifar10, imagenet, ..., half, or means/deviations; \"\" is the teacher's own, else the data set's"
    )
    crop_padding: int = setting(4, "random crop of the images that networks see, in pixels of zero padding", at_least=0)
    flip: bool = setting(True, "random mirroring of the images that networks see")
    allow_weak_teacher: bool = setting(False, "go on with a teacher that is hardly better than chance")
    evaluate_on: str = setting(
        "test", "real test images, or none: agreement with the teacher is reported", choices=("test", "none")
    )

    # Numbers.
    dtype: str = setting("float32", "of computation", choices=("float32", "bfloat16"))
    param_dtype: str = setting("float32", "of parameters, optimizers and statistics", choices=("float32",))
    matmul_precision: str = setting(
        "default", "of float32 products on accelerators", choices=("default", "high", "highest")
    )

    # The run.
    devices: int = setting(0, "how many local devices; 0 is all", at_least=0)
    evaluate_every: int = setting(5, "epochs between evaluations", at_least=1)
    checkpoint_every: int = setting(10, "epochs between checkpoints", at_least=1)
    baselines: tuple[float, ...] = setting(
        (), "shares of the real training set to train the same student on, such as (0.1,)"
    )
    evaluation_batch_size: int = setting(500, "images of an evaluation step", at_least=1)
    export_torch: bool | None = setting(None, "write the student as a PyTorch file too; None: if the teacher was one")
    held_out_batches: int = setting(
        4, "evaluate_on=none: batches of synthetic images that the student never sees", at_least=1
    )


SECTIONS = {"teacher": TeacherSettings, "student": StudentSettings, "generator": GeneratorSettings}
