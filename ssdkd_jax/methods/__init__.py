"""Published methods by name: name -> function (Problem, **settings) -> Method."""

from ssdkd_jax.methods.ssdkd import ssdkd

METHODS = {"ssdkd": ssdkd}
