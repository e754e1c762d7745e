"""Every setting of a run that is not a method's: default, meaning and range.

configs/common.py makes a config of them; a method's own settings are defined in its class.
"""

import dataclasses

from ssdkd_jax.settings import setting

_SEED = {"at_least": 0, "less_than": 2**31}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """`config.teacher`: where the teacher comes from, and how one is trained from real images."""

    name: str = setting(
        "resnet34", 'architecture, or path/to/file.py:make; "" with teacher.path: read it from the file'
    )
    path: str = setting("", 'a saved network\'s folder or a PyTorch file; "" trains one from real images, once')
    cache_dir: str = setting("runs/teachers", "folder in which trained teachers are kept for reuse")
    seed: int = setting(0, "teacher's training seed; separate, so that runs of many seeds share one teacher", **_SEED)
    epochs: int = setting(
        200,
        "teacher's training epochs: SGD with momentum 0.9, crop and flip as for the student",
        at_least=1,
        at_most=10**6,
    )
    batch_size: int = setting(128, "images per training step of the teacher", at_least=1)
    learning_rate: float = setting(0.1, "SGD learning rate at the start", more_than=0)
    schedule: str = setting(
        "cosine",
        "learning-rate schedule: cosine to 0, or steps of times 0.2 at 60, 75 and 90 % of the epochs",
        choices=("cosine", "steps"),
    )
    nesterov: bool = setting(True, "use Nesterov momentum")
    weight_decay: float = setting(5e-4, "SGD weight decay", at_least=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """`config.student`."""

    name: str = setting("resnet18", "architecture, or path/to/file.py:make")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """`config.generator`."""

    latent_size: int = setting(256, "nz, length of a latent vector", at_least=1)
    width: int = setting(64, "ngf, channels of the generator's last block", at_least=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The fields of a config's first level."""

    method: str = setting("ssdkd", "a name of ssdkd_jax.methods, or path/to/file.py:ClassName")
    seed: int = setting(0, "random seed", **_SEED)
    epochs: int = setting(
        220,
        "number of epochs; each has one synthesis and several student steps; 0 only evaluates the teacher",
        at_least=0,
        at_most=10**6,
    )

    # Data.  Real images are used only to train a missing teacher and to evaluate.
    dataset: str = setting(
        "digits",
        "digits, a TFDS name, folder:/path, or path/to/file.py:load; for segmentation shapes, camvid, nyuv2, or "
        "segmentation:/path",
    )
    data_dir: str = setting(
        "",
        'where prepared TFDS sets are stored; "" is $TFDS_DATA_DIR or ~/tensorflow_datasets; or camvid\'s folder',
    )
    image_size: int = setting(
        0, "height and width that every image is resized to; 0 keeps the original size", at_least=0
    )
    image_shape: tuple[int, ...] = setting(
        (0, 0, 0), "(height, width, channels), only for a data set that is not built in; zeros: the data set's own"
    )
    normalization: str = setting(
        "", "cifar10, imagenet, ..., half, or means/deviations; \"\" is the teacher's own, else the data set's"
    )
    crop_padding: int = setting(
        4, "randomly crop the images fed to the networks, after padding by this many zero pixels", at_least=0
    )
    flip: bool = setting(True, "randomly flip the images fed to the networks")
    allow_weak_teacher: bool = setting(False, "continue even if the teacher is barely better than chance")
    evaluate_on: str = setting(
        "test",
        "test: real test images; none: no real images, agreement with the teacher is reported",
        choices=("test", "none"),
    )

    # Numbers.
    dtype: str = setting("float32", "compute dtype", choices=("float32", "bfloat16"))
    param_dtype: str = setting("float32", "dtype of parameters, optimizer states and statistics", choices=("float32",))
    matmul_precision: str = setting(
        "default", "precision of float32 matrix products on accelerators", choices=("default", "high", "highest")
    )

    # The run.
    devices: int = setting(0, "number of devices to use, in each process; 0 is all", at_least=0)
    distributed: str = setting(
        "auto",
        "join the job's other processes: auto if the environment tells of them (JAX_COORDINATOR_ADDRESS, Slurm, TPU)",
        choices=("auto", "on", "off"),
    )
    evaluate_every: int = setting(5, "number of epochs between evaluations", at_least=1)
    checkpoint_every: int = setting(10, "number of epochs between checkpoints", at_least=1)
    baselines: tuple[float, ...] = setting(
        (), "shares of the real training set to train the same student on, such as (0.1,)"
    )
    evaluation_batch_size: int = setting(500, "images per evaluation step", at_least=1)
    export_torch: bool | None = setting(None, "write the student as a PyTorch file too; None: if the teacher was one")
    held_out_batches: int = setting(
        4, "with evaluate_on=none: number of batches of synthetic images that the student never sees", at_least=1
    )


SECTIONS = {"teacher": TeacherSettings, "student": StudentSettings, "generator": GeneratorSettings}
