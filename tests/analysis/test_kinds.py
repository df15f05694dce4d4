"""Every analysis by its name."""

import json

import numpy as np
import pytest
import torch

from analysis.kinds import KINDS


@pytest.mark.parametrize("name", KINDS)
def test_figures_of_merit_are_plain_json(name, random_network, batches, small_options, measured):
    arrays = measured(name, random_network("resnet8_cifar"), batches)
    summary = KINDS[name].summarise(arrays, small_options[name])
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


@pytest.mark.gpu
@pytest.mark.parametrize("name", KINDS)
def test_a_gpu_finds_the_same(name, random_network, batches, measured):
    network = random_network("resnet20_cifar")
    here = measured(name, network, batches)
    on_gpu = [(images.cuda(), labels.cuda()) for images, labels in batches]
    with torch.backends.cudnn.flags(allow_tf32=False):
        there = measured(name, network.cuda(), on_gpu)
    for key, value in here.items():
        if value.dtype == np.float64 and key != "sum_error":
            np.testing.assert_allclose(there[key], value, rtol=1e-2, atol=1e-3, err_msg=key)
