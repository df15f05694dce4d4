"""Heat maps of classifiers' answers, as arrays; the maps themselves are in tests/backbones/explain."""

import numpy as np
import pytest
import torch

from analysis.maps import heat_maps
from analysis.maps.heat_maps import HeatmapOptions, measure_heat_maps, summarise_heat_maps
from backbones import InputSpec, OptionError
from backbones.explain.grad_cam import explain_answers
from foundation.errors import UserError

CAFFE = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)


def test_what_is_kept_of_each_picture(random_network, batches):
    network = random_network("resnet8_cifar")
    found = measure_heat_maps(network, batches, HeatmapOptions())
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    with torch.no_grad():
        probabilities = network(images).softmax(1)
    assert found["answers"].tolist() == found["targets"].tolist() == probabilities.argmax(1).tolist()
    np.testing.assert_allclose(found["scores"], probabilities.amax(1), rtol=1e-5)
    assert found["labels"].tolist() == labels.tolist() and found["feature"] == "res4"
    expected = explain_answers(network, images, probabilities.argmax(1), "res4")
    np.testing.assert_allclose(found["grad_cam"], expected.grad_cam, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found["guided"], expected.guided.movedim(1, -1), rtol=1e-3, atol=1e-6)
    assert found["images"].shape == (10, 16, 16, 3) and found["images"].dtype == np.uint8
    assert found["pictures"] == 10


def test_few_pictures_pass_the_network_together(random_network, batches, monkeypatch):
    network, seen = random_network("resnet8_cifar"), []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    whole = measure_heat_maps(network, batches, HeatmapOptions())
    monkeypatch.setattr(heat_maps, "PIXELS_AT_ONCE", 2 * 16 * 16 + 5)
    seen.clear()
    found = measure_heat_maps(network, batches, HeatmapOptions())
    assert max(seen) == 2 and sum(seen) == 10
    np.testing.assert_allclose(found["guided"], whole["guided"], rtol=1e-3, atol=1e-6)


def test_the_label_may_be_asked_for_and_another_map(random_network, batches):
    network = random_network("resnet8_cifar")
    found = measure_heat_maps(network, batches, HeatmapOptions(target="label", feature="res3"))
    assert found["targets"].tolist() == found["labels"].tolist() and found["feature"] == "res3"
    assert (found["targets"] != found["answers"]).any()
    with pytest.raises(OptionError, match="unknown feature 'res5'"):
        measure_heat_maps(network, batches, HeatmapOptions(feature="res5"))
    unknown = [(images, torch.full_like(labels, -1)) for images, labels in batches]
    with pytest.raises(UserError, match=r"heatmap\.target=label needs labels"):
        measure_heat_maps(network, unknown, HeatmapOptions(target="label"))
    assert "right" not in summarise_heat_maps(measure_heat_maps(network, unknown, HeatmapOptions()))
    with pytest.raises(UserError, match="no pictures"):
        measure_heat_maps(network, [], HeatmapOptions())


def test_colours_are_red_green_blue_whatever_the_network_sees(random_network):
    network = random_network("resnet8_cifar")
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    network.input_spec = CAFFE
    batches = [(CAFFE.normalise(pixels), torch.tensor([0, 1]))]
    found = measure_heat_maps(network, batches, HeatmapOptions())
    assert np.array_equal(found["images"], pixels.movedim(1, -1))
    plain = explain_answers(network, batches[0][0], torch.from_numpy(found["answers"]), "res4")
    np.testing.assert_array_equal(found["guided"], plain.guided.flip(1).movedim(1, -1))


@pytest.mark.parametrize("pictures", [0, 101])
def test_no_more_pictures_than_a_figure_holds(pictures):
    with pytest.raises(ValueError, match=f"pictures must be from 1 to 100, got {pictures}"):
        HeatmapOptions(pictures=pictures)


def test_figures_of_merit_by_hand():
    heat = np.zeros((2, 2, 4))
    heat[0, 0] = [1, 0.5, 0.4, 0]  # two of eight places have half the maximum; the other picture is cold
    arrays = {
        "grad_cam": heat,
        "labels": np.array([0, 1]),
        "answers": np.array([0, 2]),
        "scores": np.array([0.5, 1.0]),
        "feature": np.array("res4"),
        "pictures": np.array(2),
    }
    assert summarise_heat_maps(arrays) == {
        "pictures": 2,
        "feature": "res4",
        "right": 1,
        "mean_score": 0.75,
        "warm_share": 0.125,
        "cold_pictures": 1,
    }
