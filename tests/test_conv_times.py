"""The program that times single convolutions, with one small layer."""

import importlib.util
import json
import os
import re
import sys

import jax
import numpy as np
import pytest

from tests import conv_times

SMALL = conv_times.Layer(8, 4, 6, stride=2)


def test_it_writes_what_a_layer_costs(monkeypatch, tmp_path):
    monkeypatch.setattr(conv_times, "LAYERS", (SMALL,))
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)  # this process has more tests to run
    monkeypatch.setattr(sys, "argv", ["conv_times", "--batch=2", "--seconds=0", f"--out={tmp_path}/out.json"])
    conv_times.main()
    facts = json.loads((tmp_path / "out.json").read_text())["facts"]
    (found,) = facts.values()
    assert list(facts) == ["8x8 pixels, 4 channels, to 6 channels, stride 2"]
    number = r"[\d.,]+"
    peer = rf", PyTorch {number}" if importlib.util.find_spec("torch") else ""
    each = rf"{number} ms \(XLA's own {number}{peer}\)"
    assert re.fullmatch(rf"forward {each}; gradients {each}", found)


def test_layers_have_names_of_their_own():
    assert len({conv_times.name_of(layer) for layer in conv_times.LAYERS}) == len(conv_times.LAYERS)


@pytest.mark.parametrize("layer", [SMALL, conv_times.Layer(8, 6, 6, groups=6)], ids=["plain", "depthwise"])
def test_pytorch_computes_the_same(layer):
    pytest.importorskip("torch")
    ours = conv_times.in_loops(jax.lax.conv_general_dilated, layer, 2)
    theirs = conv_times.in_pytorch(layer, 2)
    for values, found in zip(ours["forward"](), theirs["forward"](), strict=True):
        assert_same(values, found.permute(0, 2, 3, 1))
    of_images, of_kernels = ours["gradients"]()
    for step, (of_image, of_kernel) in enumerate(theirs["gradients"]()):
        assert_same(of_images[step], of_image.permute(0, 2, 3, 1))
        assert_same(of_kernels[step], of_kernel.permute(2, 3, 1, 0))


def assert_same(ours, theirs):
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-4)
