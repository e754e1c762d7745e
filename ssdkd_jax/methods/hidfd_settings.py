"""The settings of HiDFD."""

import dataclasses
from typing import ClassVar

from ssdkd_jax.data.collected import PHOTOGRAPHS
from ssdkd_jax.methods.student_training import StudentTraining
from ssdkd_jax.settings import setting

# What only the training of a generator reads.
STAGE_1 = (
    *("synthesis_batch_size", "gan_steps", "latent_size", "width", "gan_learning_rate", "auxiliary", "integration"),
    *("integration_gradient", "smoothing", "smoothing_counts", "discriminator", "shared_embedding", "average_decay"),
    "average_from",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HiDFDSettings(StudentTraining):
    """Settings of HiDFD.  Where the paper's intent is our reading, or differs from its code, the meaning says so.

    Raises:
      ValueError: a setting outside its range, or one that contradicts another.
    """

    read_with: ClassVar[dict[str, tuple[str, ...]]] = {
        "alpha": ("beta",),
        "integration": ("integration_gradient",),
        "smoothing": ("smoothing_counts",),
    }

    epochs: int = 640
    warmup_epochs: int = setting(
        400, "number of epochs of stage 1, which trains the generator and not the student", at_least=0
    )

    # The hybrid set.
    images: str = setting(
        "", f"collected images: a folder, a data set, or {PHOTOGRAPHS} (crops of scikit-learn's); must be given"
    )
    collected_images: int = setting(5000, "number of collected images that are kept, at most", at_least=2)
    collected_by: str = setting(
        "random", "which collected images are kept: random ones, those that the teacher is surest of, or equally many "
        "of each of its classes [ours]", choices=("random", "confidence", "classes"),
    )  # fmt: skip
    inflation: float = setting(10.0, "how often the hybrid set holds each collected image", at_least=0)
    generated_images: int = setting(
        50000, "number of generated images in the hybrid set; 0 trains no generator", at_least=0
    )

    # Stage 1.
    synthesis_batch_size: int = setting(100, "generated, and real, images per GAN step, over all devices", at_least=1)
    gan_steps: int = setting(50, "steps of discriminator and generator, each, per epoch of stage 1", at_least=1)
    latent_size: int = setting(128, "length of a latent vector, in place of generator.latent_size", at_least=1)
    width: int = setting(256, "channels of generator and discriminator, in place of generator.width", at_least=1)
    gan_learning_rate: float = setting(2e-4, "Adam learning rate, with betas (0, 0.999), of both networks", at_least=0)
    auxiliary: float = setting(1.0, "weight of the ADC losses, whether an image is real given its class", at_least=0)
    integration: float = setting(0.1, "weight of the feature integration", at_least=0)
    integration_gradient: bool = setting(
        True, "let the feature integration train the discriminator [our reading; the released code: false]"
    )
    smoothing: float = setting(0.1, "weight of the category-frequency smoothing", at_least=0)
    smoothing_counts: bool = setting(
        True, "weigh its classes by how often they were generated, updated every epoch [the released code: false]"
    )
    discriminator: str = setting(
        "guided", "guided: on the frozen teacher's features; plain: on the images alone [the released script: plain]",
        choices=("guided", "plain"),
    )  # fmt: skip
    shared_embedding: bool = setting(
        True, "one class embedding for all conditional BatchNorm layers, not a table in each [released script: false]"
    )
    average_decay: float = setting(
        0.9999, "decay of the generator's moving average, whose images the student sees", at_least=0, less_than=1
    )
    average_from: int = setting(1000, "GAN step from which the average is one; before, it is a copy", at_least=0)

    # Stage 2.
    distillation: str = setting(
        "simkd", "simkd: the teacher's last feature map, and its classifier on top; kd: its logits, at the temperature",
        choices=("simkd", "kd"),
    )  # fmt: skip
    kd_steps: int = setting(
        1562, "student steps per epoch of stage 2; 64 times that is the hybrid set once", at_least=1
    )
    kd_batch_size: int = setting(64, "images per student step, over all devices", at_least=1)
    resized_crop: float = setting(
        0.08, "least share of an image's area in the student's random resized crops; 1: crops by crop_padding instead",
        more_than=0, at_most=1,
    )  # fmt: skip
    student_learning_rate: float = setting(0.05, "SGD learning rate at the start of stage 2", more_than=0)
    student_schedule: str = setting(
        "steps", "steps: times 0.1 at 62.5, 75 and 87.5 % of stage 2; cosine: to student_final_learning_rate",
        choices=("steps", "cosine"),
    )  # fmt: skip
    student_weight_decay: float = setting(5e-4, "SGD weight decay, added to every parameter's gradient", at_least=0)

    # SSD-KD's buffer in stage 2.
    replay: bool = setting(
        False, "draw generated images by SSD-KD's priorities, weigh them by its phi, and replace a batch of the lowest "
        "priority in every epoch of stage 2 [ours]",
    )  # fmt: skip
    alpha: float = setting(0.6, "with replay: exponent of the priorities", at_least=0)
    beta: float = setting(0.4, "with replay: exponent of the importance weights", at_least=0, at_most=1)
    gamma: float = setting(1.0, "with replay: exponent of phi's difficulty factor; 0 switches it off", at_least=0)

    @classmethod
    def unread(cls, values):
        """Settings of a generator that is not trained, and of what another one switches off."""
        replay, simkd = values["replay"], values["distillation"] == "simkd"
        stage_1 = values["warmup_epochs"] * values["gan_steps"]
        by_switch = {
            f"with average_from={values['average_from']}, as stage 1 has {stage_1} steps": (
                ("average_decay",) if stage_1 <= values["average_from"] else ()
            ),
            "with generated_images=0": () if values["generated_images"] else (*STAGE_1, "inflation"),
            "with replay=false": () if replay else ("alpha", "beta", "gamma"),
            "with distillation=simkd": ("temperature",) if simkd else (),
            # Of the whole config, which a teacher's training and baselines read too.
            "on random resized crops (resized_crop below 1)": ("crop_padding",) if values["resized_crop"] < 1 else (),
            "with student_schedule=steps": (
                ("student_final_learning_rate",) if values["student_schedule"] == "steps" else ()
            ),
        }
        return super().unread(values) | {name: why for why, names in by_switch.items() for name in names}

    @property
    def has_final_learning_rate(self):
        """Only the cosine has."""
        return self.student_schedule == "cosine"

    def __post_init__(self):
        super().__post_init__()
        if 0 < self.generated_images < self.synthesis_batch_size:
            raise ValueError(
                f"generated_images is {self.generated_images}, expected 0 or at least one batch "
                f"(synthesis_batch_size={self.synthesis_batch_size})"
            )
        if bool(self.generated_images) != bool(self.warmup_epochs):
            wanted = "at least 1, in which the generator is trained" if self.generated_images else "0"
            wanted += ", and another epoch for the student: --config.epochs=2 or more" if self.epochs == 1 else ""
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs}, expected {wanted}, with "
                f"generated_images={self.generated_images}"
            )
        if not self.generated_images and (self.replay or not self.inflation):
            what = "replay is True" if self.replay else f"inflation is {self.inflation}"
            raise ValueError(f"{what}, but generated_images=0: expected at least {self.synthesis_batch_size}")
