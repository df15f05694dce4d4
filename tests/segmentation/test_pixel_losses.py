"""Cross entropy over pixels: torch's, by hand, and with hard pixels alone."""

import math

import pytest
import torch
from torch.nn import functional as F

from segmentation.pixel_losses import LossOptions, hard_examples, pixel_loss, segmentation_losses
from segmentation.types import IGNORED


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels() -> torch.Tensor:
    labels = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    labels[0, :2] = IGNORED
    return labels


def test_the_mean_is_that_of_torch(logits: torch.Tensor, labels: torch.Tensor):
    losses = segmentation_losses({"out": logits, "aux": 2 * logits}, labels, LossOptions())
    expected = F.cross_entropy(logits, labels.long(), ignore_index=IGNORED)
    torch.testing.assert_close(losses["loss"], expected)
    aux = F.cross_entropy(2 * logits, labels.long(), ignore_index=IGNORED)
    torch.testing.assert_close(losses["loss_aux"], 0.4 * aux)


def test_weights_of_classes(logits: torch.Tensor, labels: torch.Tensor):
    options = LossOptions(class_weights=(0.5, 1.0, 3.0))
    expected = F.cross_entropy(logits, labels.long(), torch.tensor([0.5, 1.0, 3.0]), ignore_index=IGNORED)
    torch.testing.assert_close(segmentation_losses({"out": logits}, labels, options)["loss"], expected)


def test_a_batch_without_a_pixel_that_counts(logits: torch.Tensor):
    labels = torch.full((2, 4, 5), IGNORED, dtype=torch.uint8)
    for options in (
        LossOptions(),
        LossOptions(class_weights=(1.0, 1.0, 1.0)),
        LossOptions(hard_probability=0.5),
    ):
        loss = segmentation_losses({"out": logits.requires_grad_()}, labels, options)["loss"]
        loss.backward()
        assert loss == 0 and not logits.grad.any()


def test_hard_pixels_by_hand():
    # Probabilities of the true class, which is 0: 0.9, 0.6, 0.3 and an ignored pixel.
    odds = [math.log(p / (1 - p)) for p in (0.9, 0.6, 0.3, 0.1)]
    logits = torch.tensor([odds, [0.0] * 4]).view(1, 2, 1, 4)
    truth = torch.tensor([0, 0, 0, IGNORED]).view(1, 1, 4)
    for probability, share, expected in (
        (0.7, 0.0, [False, True, True, False]),
        (0.2, 0.0, [False, False, True, False]),  # one of four pixels at least
        (0.2, 0.5, [False, True, True, False]),  # two of four
        (1.0, 0.0, [True, True, True, False]),
    ):
        found = hard_examples(logits, truth, LossOptions(hard_probability=probability, hard_share=share))
        assert found is not None and found.flatten().tolist() == expected, (probability, share)
    options = LossOptions(hard_probability=0.7, hard_share=0.0)
    loss = segmentation_losses({"out": logits}, truth.to(torch.uint8), options)["loss"]
    assert float(loss) == pytest.approx(-(math.log(0.6) + math.log(0.3)) / 2)


def test_all_pixels_count_without_hard_examples(logits: torch.Tensor, labels: torch.Tensor):
    assert hard_examples(logits, labels.long(), LossOptions()) is None
    some = torch.zeros(2, 4, 5, dtype=torch.bool)
    some[1, 0, 0] = True
    each = F.cross_entropy(logits, labels.long(), ignore_index=IGNORED, reduction="none")
    torch.testing.assert_close(pixel_loss(logits, labels.long(), None, some), each[1, 0, 0])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"aux": -1.0}, r"aux must be at least 0, got -1\.0"),
        ({"hard_probability": 2.0}, r"hard_probability must be from 0 to 1, got 2\.0"),
        ({"class_weights": (1.0, -1.0)}, r"class_weights must be numbers from 0 on, got \[1\.0, -1\.0\]"),
    ],
)
def test_wrong_options(options: dict, text: str):
    with pytest.raises(ValueError, match=text):
        LossOptions(**options)
