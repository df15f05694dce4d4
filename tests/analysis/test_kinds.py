"""Every analysis by its name."""

import json

import numpy as np
import pytest
import torch

from analysis.kinds import KINDS


@pytest.mark.parametrize("name", KINDS)
def test_figures_of_merit_are_plain_json(name, random_network, batches, small_options):
    kind, options = KINDS[name], small_options[name]
    arrays = kind.measure(random_network("resnet8_cifar"), batches, options, 0)
    summary = kind.summarise(arrays, options)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


@pytest.mark.gpu
@pytest.mark.parametrize("name", KINDS)
def test_a_gpu_finds_the_same(name, random_network, batches, small_options):
    kind, options = KINDS[name], small_options[name]
    network = random_network("resnet20_cifar")
    here = kind.measure(network, batches, options, 0)
    on_gpu = [(images.cuda(), labels.cuda()) for images, labels in batches]
    with torch.backends.cudnn.flags(allow_tf32=False):
        there = kind.measure(network.cuda(), on_gpu, options, 0)
    for key, value in here.items():
        if value.dtype == np.float64 and key != "sum_error":
            np.testing.assert_allclose(there[key], value, rtol=1e-2, atol=1e-3, err_msg=key)
