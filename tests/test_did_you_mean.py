"""The closest of the known words."""

import pytest

from ssdkd_jax.errors import did_you_mean


@pytest.mark.parametrize(
    ("word", "meant"),
    [("resnet2O", "resnet20"), ("SSDKD", "ssdkd"), ("ssdkd ", "ssdkd"), ("LeNet5", "LENET5"), ("vgg", ""), (None, "")],
)
def test_the_closest_word_is_asked_for(word, meant):
    known = ("resnet20", "resnet18", "ssdkd", "LENET5", "convnet")
    assert did_you_mean(word, known) == (f"did you mean {meant!r}? " if meant else "")
