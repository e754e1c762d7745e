"""Published methods by name: name -> class, a `student_training.StudentTraining` whose fields are its settings."""

from ssdkd_jax.methods.fastdfkd import Fast, Fast2, Fast5, FastDFKD
from ssdkd_jax.methods.ssdkd import SSDKD

METHODS = {
    "ssdkd": SSDKD,
    "fastdfkd": FastDFKD,
    "fastdfkd2": Fast2,
    "fastdfkd5": Fast5,
    "fastdfkd10": FastDFKD,
    "fast": Fast,
}
