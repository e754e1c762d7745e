"""Published methods by name: name -> class, a `student_training.StudentTraining` whose fields are its settings."""

from ssdkd_jax.methods.baselines import NoiseKD, Scratch, TransferKD, VanillaKD
from ssdkd_jax.methods.cmi import CMI
from ssdkd_jax.methods.dafl import DAFL
from ssdkd_jax.methods.deepinversion import DeepInversion
from ssdkd_jax.methods.dfad import DFAD
from ssdkd_jax.methods.dfq import DFQ
from ssdkd_jax.methods.fastdfkd import Fast, Fast2, Fast5, FastDFKD
from ssdkd_jax.methods.nayer import NAYER
from ssdkd_jax.methods.ssdkd import SSDKD
from ssdkd_jax.methods.zskt import ZSKT

METHODS = {
    "ssdkd": SSDKD,
    "fastdfkd": FastDFKD,
    "fastdfkd2": Fast2,
    "fastdfkd5": Fast5,
    "fastdfkd10": FastDFKD,
    "fast": Fast,
    "deepinversion": DeepInversion,
    "cmi": CMI,
    "nayer": NAYER,
    "dafl": DAFL,
    "dfq": DFQ,
    "zskt": ZSKT,
    "dfad": DFAD,
    # Baselines, which see images that are given.
    "vanilla_kd": VanillaKD,
    "scratch": Scratch,
    "transfer_kd": TransferKD,
    "noise_kd": NoiseKD,
}
