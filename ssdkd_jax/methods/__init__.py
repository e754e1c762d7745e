"""Published methods by name: name -> function (Problem, **settings) -> Method."""

from ssdkd_jax.methods.fastdfkd import fastdfkd
from ssdkd_jax.methods.ssdkd import ssdkd

METHODS = {
    "ssdkd": ssdkd,
    "fastdfkd": fastdfkd,
}
