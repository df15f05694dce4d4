import math
from types import SimpleNamespace

import pytest
import torch

from backbones.spec import IMAGENET_INPUT, FeatureSpec, InputSpec, describe
from foundation.errors import OptionError

CAFFE = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)


def test_imagenet_normalisation_by_hand():
    # R: (255/255 - 0.485) / 0.229 = 2.248908; G: (0 - 0.456) / 0.224 = -2.035714; B: (51/255 - 0.406) / 0.225
    pixel = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = torch.tensor([2.248908, -2.035714, -0.915556])
    torch.testing.assert_close(IMAGENET_INPUT.normalise(pixel).flatten(), expected, rtol=0, atol=1e-6)


def test_caffe_wants_bgr_0_to_255():
    pixel = torch.tensor([200.0, 100.0, 50.0]).view(1, 3, 1, 1)
    expected = torch.tensor([50 - 103.53, 100 - 116.28, 200 - 123.675])
    torch.testing.assert_close(CAFFE.normalise(pixel).flatten(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spec", [IMAGENET_INPUT, CAFFE])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalise_keeps_memory_format_and_gives_float32(spec, memory_format):
    images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8).to(memory_format=memory_format)
    result = spec.normalise(images)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=memory_format)


def test_normalise_does_not_change_its_input():
    images = torch.full((1, 3, 2, 2), 7.0)
    IMAGENET_INPUT.normalise(images)
    assert (images == 7).all()


def test_normalise_first_used_in_inference_mode_still_meets_autograd():
    spec = InputSpec(mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    with torch.inference_mode():
        spec.normalise(torch.zeros(1, 3, 1, 1))
    images = torch.zeros(1, 3, 1, 1, requires_grad=True)
    spec.normalise(images).sum().backward()
    torch.testing.assert_close(images.grad.flatten() * 255, torch.tensor([1.0, 0.5, 0.25]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "RBG"}, "unknown channel order 'RBG'; did you mean 'RGB'?"),
        ({"range": 100.0}, "range must be 1.0 .* or 255.0 .*, got 100.0"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
        ({"mean": (1.0, 2.0)}, "need three numbers"),
        ({"mean": (0.0, math.nan, 0.0)}, r"need three numbers, .* got \(0.0, nan, 0.0\)"),
        ({"std": (1.0, math.inf, 1.0)}, "need three numbers"),
        ({"mean": ("0.5", "0.5", "0.5")}, "need three numbers"),
        ({"range": math.nan}, "range must be"),
    ],
)
def test_impossible_specifications_are_refused(arguments, message):
    with pytest.raises(OptionError, match=message):
        InputSpec(**{"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), **arguments})


def test_describing_a_network_by_hand():
    network = SimpleNamespace(stages={"stem": ("conv1",), "res2": ("layer1",)})
    describe(network, "x", (4, 8), (1, 2), num_classes=3, stem_pool="padded", dilation=["res5"])
    assert network.feature_specs == {"stem": FeatureSpec(4, 1), "res2": FeatureSpec(8, 2)}
    # A later option is stated only where it differs.
    assert network.options == {"num_classes": 3, "dilation": ["res5"]} and network.name == "x"
    with pytest.raises(ValueError, match="zip"):
        describe(network, "x", (4,), (1,))


@pytest.mark.parametrize("spec", [IMAGENET_INPUT, CAFFE])
def test_pixels_undo_what_normalise_does(spec):
    images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    assert torch.equal(spec.pixels(spec.normalise(images)), images)
    assert spec.pixels(torch.full((1, 3, 1, 1), 1e4)).unique().tolist() == [255]
