"""The losses against torch's and timm's, and by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from classification.losses import LossConfig, classification_loss, dominant_labels
from foundation.errors import UserError

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 0.0]])
LABELS = torch.tensor([0, 2])
SHARES = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.1, 0.9]])


def test_the_default_is_the_papers_to_the_bit():
    assert torch.equal(classification_loss(LOGITS, LABELS, LossConfig()), F.cross_entropy(LOGITS, LABELS))


@pytest.mark.parametrize("targets", [LABELS, SHARES])
def test_smoothing_is_torchs(targets: torch.Tensor):
    loss = classification_loss(LOGITS, targets, LossConfig(smoothing=0.1))
    assert torch.equal(loss, F.cross_entropy(LOGITS, targets, label_smoothing=0.1))


def test_smoothed_shares_by_hand():
    # Logits 0: every class costs ln 3 whatever the targets are. With logits (ln 2, 0, 0) the first costs
    # ln 4 - ln 2 and the others ln 4: ln 4 - ln 2 x (0.9 x 0.75 + 0.1 / 3).
    logits = torch.tensor([[math.log(2), 0, 0]])
    loss = classification_loss(logits, SHARES[:1], LossConfig(smoothing=0.1))
    assert loss.item() == pytest.approx(math.log(4) - math.log(2) * (0.9 * 0.75 + 0.1 / 3))


def test_binary_by_hand():
    # Logits ln 2 and ln 1/3: probabilities 2/3 and 1/4; targets 1 and 0: -ln 2/3 and -ln 3/4, their mean.
    logits = torch.tensor([[math.log(2), math.log(1 / 3)]])
    config = LossConfig(kind="binary")
    expected = -(math.log(2 / 3) + math.log(3 / 4))
    assert classification_loss(logits, torch.tensor([0]), config).item() == pytest.approx(expected / 2)
    config = LossConfig(kind="binary", sum_classes=True)
    assert classification_loss(logits, torch.tensor([0]), config).item() == pytest.approx(expected)


def test_targets_above_the_threshold_become_one():
    # 0.25 is above 0.2 and 0.1 is not: classes 0 and 1, and class 2 alone.
    config = LossConfig(kind="binary", target_threshold=0.2)
    expected = F.binary_cross_entropy_with_logits(LOGITS, torch.tensor([[1.0, 1, 0], [0, 0, 1]]))
    assert torch.equal(classification_loss(LOGITS, SHARES, config), expected)


@pytest.mark.parametrize("sum_classes", [False, True])
@pytest.mark.parametrize(("smoothing", "threshold"), [(0.0, None), (0.1, None), (0.0, 0.2)])
def test_binary_is_timms(sum_classes: bool, smoothing: float, threshold: float | None):
    loss = pytest.importorskip("timm.loss")
    config = LossConfig(
        kind="binary", smoothing=smoothing, target_threshold=threshold, sum_classes=sum_classes
    )
    theirs = loss.BinaryCrossEntropy(smoothing, threshold, sum_classes=sum_classes)
    torch.testing.assert_close(classification_loss(LOGITS, LABELS, config), theirs(LOGITS, LABELS))
    if not smoothing:  # timm leaves the smoothing of shares to what mixes them
        torch.testing.assert_close(classification_loss(LOGITS, SHARES, config), theirs(LOGITS, SHARES))


def test_mixed_and_smoothed_targets_are_timms():
    mixup = pytest.importorskip("timm.data.mixup")
    loss = pytest.importorskip("timm.loss")
    # timm smooths first and mixes then, with the picture from the other end of the batch.
    targets = mixup.mixup_target(LABELS, 3, lam=0.75, smoothing=0.1)
    shares = 0.75 * F.one_hot(LABELS, 3) + 0.25 * F.one_hot(LABELS.flip(0), 3)
    ours = classification_loss(LOGITS, shares, LossConfig(kind="binary", smoothing=0.1))
    torch.testing.assert_close(ours, loss.BinaryCrossEntropy(0)(LOGITS, targets))


def test_half_precision_logits():
    loss = classification_loss(LOGITS.bfloat16(), SHARES, LossConfig(kind="binary"))
    assert loss.dtype == torch.float32


def test_dominant_labels():
    assert dominant_labels(LABELS) is LABELS
    assert dominant_labels(torch.tensor([[0.2, 0.8, 0], [0.5, 0, 0.5]])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothing": 1}, "smoothing must be from 0 to below 1, got 1"),
        ({"target_threshold": 0.2}, "target_threshold and sum_classes belong to kind binary"),
        ({"sum_classes": True}, "target_threshold and sum_classes belong to kind binary"),
        ({"kind": "binary", "target_threshold": 1}, "target_threshold must be .*, got 1"),
        (
            {"kind": "binary", "target_threshold": 0.2, "smoothing": 0.1},
            "target_threshold 0.2 makes targets 0 or 1 and undoes smoothing 0.1; leave one of them out",
        ),
    ],
)  # fmt: skip
def test_impossible_losses_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        LossConfig(**options)
