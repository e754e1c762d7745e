"""Every field of a config, with its meaning and its default; the benchmarks' files beside this one change some.

All fields are overridden on the command line as `--config.FIELD=VALUE`, for example `--config.seed=1` or
`--config.ssdkd.alpha=0`.
"""

import ml_collections
from ml_collections import config_dict

from ssdkd_jax.methods import METHODS


def get_common_config():
    """The defaults: FastDFKD's schedule with SSD-KD's buffer, modulation and priorities."""
    c = ml_collections.ConfigDict()
    c.method = "ssdkd"  # a method of ssdkd_jax.methods
    c.seed = 0  # of everything random
    c.epochs = 220  # each one synthesis and a number of student steps; 0 evaluates the teacher and stops

    # Data.  Real images only train a missing teacher and evaluate.
    c.dataset = "digits"  # digits, a TFDS name, or folder:/path
    c.data_dir = ""  # where prepared TFDS sets lie; "" is $TFDS_DATA_DIR or ~/tensorflow_datasets
    c.image_size = 0  # every image is resized to this height and width; 0 keeps them as they are
    c.image_shape = (0, 0, 0)  # (h, w, c), only for a data set that nobody here knows; zeros: the data set's own
    c.normalization = ""  # cifar10, cifar100, imagenet, ... ; "" is the teacher's own, else the data set's
    c.crop_padding = 4  # random crop of the images that networks see, in pixels of zero padding
    c.flip = True  # random mirroring
    c.evaluate_on = "test"  # test, or none: no real image is looked for, agreement with the teacher is reported

    # Networks.
    c.teacher = ml_collections.ConfigDict()
    c.teacher.name = "resnet34"  # architecture; "" with a path: what the file says
    c.teacher.path = ""  # a folder of ours or a PyTorch file; "" trains one from real images, once
    c.teacher.kept_in = "runs/teachers"  # where trained teachers are kept and found again
    c.teacher.seed = 0  # of its training, so that runs of many seeds share one teacher
    c.teacher.epochs = 200  # SGD with Nesterov momentum 0.9, cosine to 0, crop and flip as above
    c.teacher.batch_size = 128
    c.teacher.learning_rate = 0.1
    c.teacher.weight_decay = 5e-4
    c.student = ml_collections.ConfigDict()
    c.student.name = "resnet18"  # architecture
    c.generator = ml_collections.ConfigDict()
    c.generator.latent_size = 256  # nz
    c.generator.width = 64  # ngf
    c.dtype = "float32"  # of computation: float32 or bfloat16
    c.param_dtype = "float32"  # of parameters
    c.matmul_precision = "default"  # of float32 products on accelerators: default, high or highest

    # The run.
    c.devices = 0  # how many local devices; 0 is all
    c.loop = "auto"  # scan: an epoch is one program; steps: single calls; auto: scan
    c.evaluate_every = 5  # epochs
    c.checkpoint_every = 10  # epochs
    c.references = ()  # shares of the real training set to train the same student on, for comparison, e.g. (0.1,)
    c.evaluation_batch_size = 500  # images
    c.export_torch = config_dict.placeholder(bool)  # student as a PyTorch file too; None: if the teacher was one
    c.held_back_batches = 4  # evaluate_on=none: batches of synthetic images that the student never sees

    # SSD-KD; see ssdkd_jax/methods/ssdkd.py, which also marks what is our reading.
    c.ssdkd = ml_collections.ConfigDict()
    c.ssdkd.warmup_epochs = 20  # first epochs, without student steps and adversarial loss
    c.ssdkd.synthesis_batch_size = 256  # images made per epoch
    c.ssdkd.inversion_steps = 5  # g_steps
    c.ssdkd.generator_learning_rate = 3e-3  # lr_g, Adam
    c.ssdkd.latent_learning_rate = 0.01  # lr_z, Adam
    c.ssdkd.meta_update = "fomaml"  # fomaml, reptile or none
    c.ssdkd.bn = 10.0  # weight of the BatchNorm-statistics loss
    c.ssdkd.oh = 0.5  # weight of the task loss
    c.ssdkd.adv = 1.33  # weight of the adversarial loss
    c.ssdkd.adv_masked = True  # adversarial only where teacher and student agree
    c.ssdkd.bn_momentum = 0.9  # share of earlier batches in the BatchNorm statistics
    c.ssdkd.augment_inversion = True  # crop and flip during the synthesis too
    c.ssdkd.targets = "own"  # classes of the task loss: the teacher's own argmax, or drawn
    c.ssdkd.gamma = 1.0  # exponent of phi's difficulty part
    c.ssdkd.use_diversity = True  # phi's diversity part
    c.ssdkd.use_difficulty = True  # phi's difficulty part
    c.ssdkd.modulated_term = "task"  # what phi weighs: task, adversarial, both or none
    c.ssdkd.gradient_through_phi = False  # whether phi's own gradient moves the images
    c.ssdkd.buffer_size = 5000  # images; the paper's small scale is 10 % of the training set
    c.ssdkd.buffer_dtype = "uint8"  # uint8, bfloat16 or float32
    c.ssdkd.replacement = "lowest_priority"  # lowest_priority, oldest, lowest_phi or random
    c.ssdkd.alpha = 0.6  # exponent of the priorities; 0 is uniform sampling
    c.ssdkd.beta_start = 0.4  # exponent of the importance weights, annealed ...
    c.ssdkd.beta_end = 1.0  # ... linearly to this
    c.ssdkd.priority = "weighted_kl"  # weighted_kl or kl
    c.ssdkd.priority_epsilon = 1e-6  # added to every priority
    c.ssdkd.weight_normalisation = "mean"  # which importance weight is 1: the mean, or the largest of batch or buffer
    c.ssdkd.kd_steps = 400  # student steps per epoch
    c.ssdkd.kd_batch_size = 256  # images per student step
    c.ssdkd.temperature = 20.0  # T
    c.ssdkd.student_learning_rate = 0.2  # SGD, cosine ...
    c.ssdkd.student_final_learning_rate = 2e-4  # ... to this
    c.ssdkd.student_momentum = 0.9
    c.ssdkd.student_weight_decay = 1e-4

    # FastDFKD; see ssdkd_jax/methods/fastdfkd.py.
    c.fastdfkd = ml_collections.ConfigDict()
    c.fastdfkd.warmup_epochs = 20  # first epochs, without student steps and adversarial loss
    c.fastdfkd.synthesis_batch_size = 256  # images made per epoch
    c.fastdfkd.inversion_steps = 10  # g_steps
    c.fastdfkd.generator_learning_rate = 2e-3  # lr_g, Adam
    c.fastdfkd.latent_learning_rate = 0.01  # lr_z, Adam
    c.fastdfkd.meta_update = "fomaml"  # fomaml, reptile or none
    c.fastdfkd.bn = 10.0  # weight of the BatchNorm-statistics loss
    c.fastdfkd.oh = 0.5  # weight of the task loss
    c.fastdfkd.adv = 1.33  # weight of the adversarial loss
    c.fastdfkd.bn_momentum = 0.9  # share of earlier batches in the BatchNorm statistics
    c.fastdfkd.reset_after = 120  # epochs after the warm-up when the generator's first layers start anew; 0 is never
    c.fastdfkd.bank_dtype = "uint8"  # uint8, bfloat16 or float32; the bank keeps every image that is made
    c.fastdfkd.kd_steps = 400  # student steps per epoch
    c.fastdfkd.kd_batch_size = 256  # images per student step
    c.fastdfkd.temperature = 20.0  # T
    c.fastdfkd.student_learning_rate = 0.2  # SGD, cosine ...
    c.fastdfkd.student_final_learning_rate = 2e-4  # ... to this
    c.fastdfkd.student_momentum = 0.9
    c.fastdfkd.student_weight_decay = 1e-4
    return c


def set_all_methods(c, **fields):
    """Sets fields in the sections of all methods that have them, so that methods are compared on the same schedule."""
    for name in METHODS:
        for field, value in fields.items():
            if field in c[name]:
                c[name][field] = value
