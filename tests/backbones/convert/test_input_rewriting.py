"""The first convolution rewritten for other pictures: the same outputs on the same picture, or a refusal."""

import pytest
import torch
from torch import Tensor

from backbones import IMAGENET_INPUT, InputSpec, OptionError, create_model
from backbones.convert import rewrite_input, same_pictures
from backbones.convert.foreign_weights import INCEPTION_INPUT, MSRA_INPUT

IN_255 = InputSpec(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), range=255.0)
SAME_MEAN = InputSpec(mean=(0.406, 0.456, 0.485), std=(1.0, 2.0, 0.1), order="BGR")
RELEASE = InputSpec(mean=(103.0626, 115.9029, 123.1516), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)


def picture() -> Tensor:
    torch.manual_seed(0)
    return torch.randint(0, 256, (2, 3, 50, 41), dtype=torch.uint8)


@pytest.mark.parametrize("source", [IMAGENET_INPUT, MSRA_INPUT, IN_255, SAME_MEAN])
@pytest.mark.parametrize("target", [IMAGENET_INPUT, MSRA_INPUT, IN_255, SAME_MEAN])
def test_outputs_on_the_same_picture_stay(source, target):
    torch.manual_seed(0)
    network = create_model("resnet18", num_classes=4).eval()
    with torch.no_grad():
        before = network(source.normalise(picture()))
        network.load_state_dict(rewrite_input(network.state_dict(), source, target))
        after = network(target.normalise(picture()))
        assert ((after - before).abs().max() / before.abs().max()).item() < 1e-4
        if not same_pictures(source, target):  # and without rewriting they would not
            wrong = network(source.normalise(picture()))
            assert ((wrong - before).abs().max() / before.abs().max()).item() > 1e-2


def test_by_hand():
    state = {"conv1.weight": torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1), "other": torch.ones(1)}
    source = InputSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 0.5))
    target = InputSpec(mean=(0.0, 0.0, 0.0), std=(2.0, 1.0, 1.0), order="BGR", range=255.0)
    # Blue first: 3 · (2 / 255) / 0.5, green 2 / 255, red 1 / 255.
    rewritten = rewrite_input(state, source, target)
    torch.testing.assert_close(rewritten["conv1.weight"].flatten(), torch.tensor([12.0, 2.0, 1.0]) / 255)
    assert rewritten["other"] is state["other"]
    assert state["conv1.weight"].flatten().tolist() == [1, 2, 3]  # the caller's stays


def test_scaling_by_nothing_changes_no_bit():
    state = {"conv1.weight": torch.randn(4, 3, 7, 7)}
    assert torch.equal(rewrite_input(state, MSRA_INPUT, MSRA_INPUT)["conv1.weight"], state["conv1.weight"])


@pytest.mark.parametrize(("source", "target"), [(RELEASE, MSRA_INPUT), (IMAGENET_INPUT, INCEPTION_INPUT)])
def test_another_mean_is_refused_with_the_reason(source, target):
    with pytest.raises(
        OptionError, match="the means differ .* zero padding .* keep the network's own pictures"
    ):
        rewrite_input({"conv1.weight": torch.zeros(2, 3, 7, 7)}, source, target)


@pytest.mark.parametrize(
    "state", [{}, {"conv1.weight": torch.zeros(4, 1, 7, 7)}, {"conv1.weight": torch.zeros(3)}]
)
def test_no_convolution_of_colours(state):
    with pytest.raises(OptionError, match="no convolution conv1.weight of three channels"):
        rewrite_input(state, IMAGENET_INPUT, MSRA_INPUT)


def test_same_pictures_in_other_units():
    assert same_pictures(IMAGENET_INPUT, IN_255)
    assert not same_pictures(IMAGENET_INPUT, MSRA_INPUT)
    assert not same_pictures(MSRA_INPUT, RELEASE)
    # The numbers alone are equal here, in the other order.
    swapped = InputSpec(IMAGENET_INPUT.mean, IMAGENET_INPUT.std, order="BGR")
    assert not same_pictures(IMAGENET_INPUT, swapped)
