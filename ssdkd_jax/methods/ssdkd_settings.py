"""The settings of SSD-KD."""

import dataclasses
from typing import ClassVar

from ssdkd_jax import inversion, modulation, replay_buffer
from ssdkd_jax.methods.view_keeping import ViewKeeping
from ssdkd_jax.settings import setting

# What only one way of making images reads.
OF_SYNTHESIS = {
    "meta": ("meta_update", "latent_learning_rate"),
    "noisy_layer": ("generator_life", "embedding_size"),
}
# The preset `ssdkd_paper`: the paper as it reads to us, with FastDFKD's loop where it says nothing.
PAPER = {
    "synthesis": "meta",
    "meta_update": "fomaml",
    "inversion_steps": 5,
    "generator_learning_rate": 3e-3,
    "latent_learning_rate": 0.01,
    "adv_masked": True,
    "bn_floor": 0.0,
    "targets": "own",
    "gamma": 1.0,
    "use_diversity": True,
    "use_difficulty": True,
    "modulated_term": "task",
    "phi_scale": "raw",
    "modulate_student": False,
    "gradient_through_phi": False,
    "priority": "weighted_kl",
    "alpha": 0.6,
    "beta_start": 0.4,
    "beta_end": 1.0,
    "weight_normalization": "mean",
    "replacement": "lowest_priority",
    "insertion": "largest",
    "views": 0,
    "kd_steps": 400,
    "kd_batch_size": 256,
    "student_learning_rate": 0.2,
    "temperature": 20.0,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SSDKDSettings(ViewKeeping):
    """Settings of SSD-KD.  Where the paper leaves a choice open, the setting's meaning says "our reading".

    Raises:
      ValueError: a setting outside its range.
    """

    read_with: ClassVar[dict[str, tuple[str, ...]]] = {
        "bn": ("bn_momentum", "bn_floor"),
        "adv": ("adv_masked",),
        "alpha": ("beta_start", "beta_end", "weight_normalization"),
    }
    image_losses: ClassVar[tuple[str, ...]] = ("bn", "oh", "adv")

    epochs: int = 220
    warmup_epochs: int = setting(
        20, "number of warm-up epochs, which only synthesize, without the adversarial loss", at_least=0
    )
    synthesis_batch_size: int = setting(256, "images made per epoch, over all devices", at_least=1)
    synthesis: str = setting(
        "meta", "what makes the images: FastDFKD's meta generator [our reading], or NAYER's noisy layer [ours]",
        choices=("meta", "noisy_layer"),
    )  # fmt: skip
    inversion_steps: int = setting(5, "g_steps, optimization steps per synthesis", at_least=1)
    generator_learning_rate: float = setting(3e-3, "lr_g, Adam learning rate of the generator", at_least=0)
    latent_learning_rate: float = setting(0.01, "lr_z, Adam learning rate of the latents", at_least=0)
    meta_update: str = setting(
        "fomaml", "how the meta generator is updated; none: it becomes the fast copy", choices=inversion.META_UPDATES
    )
    generator_life: int = setting(
        10, "number of epochs after which the noisy layer's generator is reset [ours]", at_least=1
    )
    embedding_size: int = setting(512, "length of a class's embedding for the noisy layer [ours]", at_least=1)
    bn: float = setting(10.0, "weight of the BatchNorm-statistics loss", at_least=0)
    oh: float = setting(0.5, "weight of the task loss", at_least=0)
    adv: float = setting(1.33, "weight of the adversarial loss after the warm-up", at_least=0)
    adv_masked: bool = setting(True, "count only images on which both networks agree in the adversarial loss")
    bn_momentum: float = setting(
        0.9, "bn_mmt, share of earlier batches in the BatchNorm statistics; 0 is none", at_least=0, less_than=1
    )
    augment_inversion: bool = setting(True, "randomly crop and flip the images fed to the networks in a synthesis")
    bn_floor: float = setting(
        0.0, "what of the BatchNorm-statistics loss is free, as batches of real images have some [ours]", at_least=0
    )
    targets: str = setting(
        "own", "target classes of the task loss: the teacher's own argmax, or drawn: uniformly, or (lacking) rather "
        "those that the buffer has few images of [our reading: own; lacking: ours]",
        choices=("own", "drawn", "lacking"),
    )  # fmt: skip
    gamma: float = setting(1.0, "exponent of phi's difficulty factor [our reading: 1]", at_least=0)
    use_diversity: bool = setting(True, "include the diversity factor in phi")
    use_difficulty: bool = setting(True, "include the difficulty factor in phi")
    modulated_term: str = setting(
        "task", "which losses phi weighs [our reading: task]", choices=modulation.MODULATED_TERMS
    )
    phi_scale: str = setting(
        "raw", "raw: phi as it is; mean: over its mean over the batch, which leaves the loss's size [our reading: raw]",
        choices=("raw", "mean"),
    )  # fmt: skip
    modulate_student: bool = setting(
        False, "weigh the student's loss by phi over its mean over the batch, too [our reading: no]"
    )
    gradient_through_phi: bool = setting(False, "let gradients flow through phi [our reading: no]")
    buffer_size: int = setting(
        5000, "number of images in the replay buffer; the paper's is 10 % of the training set", at_least=1
    )
    buffer_dtype: str = setting("uint8", "dtype of stored images", choices=("uint8", "bfloat16", "float32"))
    renewed_views: int = setting(
        0, "number of entries that get new views in each epoch, over all devices [ours]", at_least=0
    )
    replacement: str = setting(
        "lowest_priority", "which entries new images replace; quota: those of lowest priority in the classes with most "
        "of them [our reading: lowest priority; quota: ours]",
        choices=("lowest_priority", "oldest", "lowest_phi", "random", "quota"),
    )  # fmt: skip
    insertion: str = setting(
        "largest", "priority of new entries: the buffer's largest, as in prioritized replay, or its mean [ours]",
        choices=replay_buffer.INSERTIONS,
    )  # fmt: skip
    alpha: float = setting(0.6, "exponent of the priorities; 0 draws uniformly", at_least=0)
    beta_start: float = setting(0.4, "exponent of the importance weights after the warm-up", at_least=0, at_most=1)
    beta_end: float = setting(1.0, "exponent of the importance weights at the end", at_least=0, at_most=1)
    priority: str = setting(
        "weighted_kl", "priority of an image: importance weight times KL(teacher || student) at T = 1, or the KL alone",
        choices=("weighted_kl", "kl"),
    )  # fmt: skip
    priority_epsilon: float = setting(1e-6, "constant added to every priority", more_than=0)
    weight_normalization: str = setting(
        "mean", "which importance weight is scaled to 1, see replay_buffer.sample [our reading: mean]",
        choices=replay_buffer.NORMALIZATIONS,
    )  # fmt: skip
    student_learning_rate: float = setting(
        0.2, "SGD learning rate at the start of a cosine over all student steps", more_than=0
    )

    @classmethod
    def unread(cls, values):
        """Settings of another synthesis, and of a phi that weighs nothing."""
        other = OF_SYNTHESIS["noisy_layer" if values["synthesis"] == "meta" else "meta"]
        by_switch = {
            f"with synthesis={values['synthesis']}": other,
            "with use_difficulty=false": () if values["use_difficulty"] else ("gamma",),
            "with modulated_term=none": (
                ("phi_scale", "gradient_through_phi") if values["modulated_term"] == "none" else ()
            ),
        }
        return super().unread(values) | {name: why for why, names in by_switch.items() for name in names}

    def __post_init__(self):
        super().__post_init__()
        if self.targets == "lacking" and self.synthesis == "noisy_layer":
            raise ValueError("targets is 'lacking', but noisy layers make every class once; expected 'own' or 'drawn'")
        if self.renewed_views > (self.buffer_size if self.views else 0):
            raise ValueError(
                f"renewed_views is {self.renewed_views}, expected at most buffer_size={self.buffer_size}, and 0 where "
                "views=0 keeps none"
            )
        product = self.alpha * max(self.beta_start, self.beta_end)
        if self.priority == "weighted_kl" and product >= 1:
            raise ValueError(
                f"alpha times the larger beta is {product:g}, expected less than 1 with priority=weighted_kl (the "
                "priorities would oscillate): lower alpha, or set priority=kl"
            )
        if self.beta_start > self.beta_end:
            raise ValueError(
                f"beta_start is {self.beta_start}, expected at most beta_end={self.beta_end}, to which it rises"
            )
