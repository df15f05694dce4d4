import pytest
import torch

from detection.types import Prediction, Target

BOXES, LABELS, IGNORE = torch.zeros(2, 4), torch.ones(2, dtype=torch.int64), torch.zeros(2, dtype=torch.bool)


def test_no_objects_are_legal():
    assert len(Target(BOXES[:0], LABELS[:0], IGNORE[:0], "a", (3, 4)).boxes) == 0
    assert len(Prediction(BOXES[:0], LABELS[:0], torch.zeros(0)).boxes) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"boxes": torch.zeros(2, 5)}, r"boxes must be \(2, 4\) torch.float32, got \(2, 5\)"),
        ({"boxes": torch.zeros(0)}, r"boxes must be \(0, 4\)"),
        ({"boxes": BOXES.half()}, r"got \(2, 4\) torch.float16"),
        ({"labels": LABELS[:1]}, r"labels must be \(2,\) torch.int64, got \(1,\)"),
        ({"labels": LABELS.int()}, "torch.int32"),
        ({"ignore": LABELS}, r"ignore must be \(2,\) torch.bool"),
    ],
)
def test_wrong_targets(wrong: dict, message: str):
    sound = {"boxes": BOXES, "labels": LABELS, "ignore": IGNORE, "image_id": 1, "size": (3, 4)}
    Target(**sound)
    with pytest.raises(ValueError, match=message):
        Target(**{**sound, **wrong})


def test_scores_may_be_double_but_not_whole_numbers():
    assert Prediction(BOXES, LABELS, torch.zeros(2, dtype=torch.float64)).scores.dtype == torch.float64
    with pytest.raises(ValueError, match=r"scores must be \(2,\) torch.float32, got \(2,\) torch.int64"):
        Prediction(BOXES, LABELS, LABELS)
