"""Files of boxes are scored, joined and refused; test_localization.py in pipeline searches with networks."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from detection.localization import localization_evaluation as evaluation
from detection.localization.box_lists import BoxLists, load_lists, pack_lists
from detection.localization.localization_config import LocalizationConfig
from detection.localization.localization_evaluation import agreed, evaluate_localization
from detection.localization.localization_result import load_judged_pictures
from detection.localization.one_class_pictures import OneClassPictures
from foundation.errors import UserError
from training.config import load_config

CONFIG = asdict(load_config(LocalizationConfig, None, ["data.kind=shapes"]))


@pytest.fixture
def pictures(two_pictures: OneClassPictures, monkeypatch: pytest.MonkeyPatch) -> OneClassPictures:
    monkeypatch.setattr(evaluation, "open_pictures", lambda *_: two_pictures)
    return two_pictures


def lists(pictures: OneClassPictures, dog: list[float], score: float = 0.9) -> BoxLists:
    """A box of the dog, and one of the first cat."""
    cat = torch.tensor([[20.0, 20.0, 50.0, 80.0]])
    found = [(0, 2, torch.tensor([dog]), torch.tensor([score])), (1, 1, cat, torch.tensor([0.5]))]
    about = {"config": json.loads(json.dumps(CONFIG))}
    return pack_lists(["picture0", "picture1"], pictures.classes, found, about)


def score(*files: Path, **more: object) -> dict:
    given = {"weights": None, "boxes": list(files), "guesses": None, **more}
    result = evaluate_localization(**given)
    assert result is not None
    return result


def test_a_file_is_scored_alone(pictures: OneClassPictures, tmp_path: Path):
    lists(pictures, [0.0, 10.0, 60.0, 90.0]).save(tmp_path / "right.npz")
    lists(pictures, [80.0, 10.0, 140.0, 90.0]).save(tmp_path / "wrong.npz")
    assert score(tmp_path / "right.npz")["scores"]["oracle_error"] == 0
    result = score(tmp_path / "wrong.npz", out=tmp_path / "out", bootstrap=20)
    assert result["scores"]["oracle_error"] == 0.5 and set(result["intervals"]) == set(result["scores"])
    assert json.loads((tmp_path / "out" / "result.json").read_text())["scores"] == result["scores"]
    kept = load_judged_pictures(tmp_path / "out" / "per_picture.npz")
    assert kept.ids == ["picture0", "picture1"] and kept.wrong["oracle_error"].tolist() == [True, False]


def test_an_ensemble_agrees_by_overlap_and_votes(pictures: OneClassPictures, tmp_path: Path):
    lists(pictures, [0.0, 10.0, 60.0, 90.0], 0.75).save(tmp_path / "a.npz")
    lists(pictures, [8.0, 10.0, 60.0, 90.0], 0.25).save(tmp_path / "b.npz")
    score(tmp_path / "a.npz", tmp_path / "b.npz", save_boxes=tmp_path / "both.npz")
    boxes, scores = load_lists(tmp_path / "both.npz").of(0, 2)
    # The IoU of the two is 52/60. What each says there: 0.75 and 0.25 times it, 0.75 times it and 0.25.
    shared = 52 / 60
    assert scores.tolist() == pytest.approx([(0.75 + 0.25 * shared) / 2, (0.75 * shared + 0.25) / 2])
    torch.testing.assert_close(boxes, torch.tensor([[2.0, 10.0, 60.0, 90.0]] * 2))  # both vote for both


def test_agreement_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    members = []
    for count in (5, 0, 7):
        corner, side = (
            40 * torch.rand(count, 2, generator=generator),
            10 + 30 * torch.rand(count, 2, generator=generator),
        )
        members.append((torch.cat([corner, corner + side], dim=1), torch.rand(count, generator=generator)))
    boxes, scores = agreed(members)
    candidates = [(box, score) for own, weight in members for box, score in zip(own, weight, strict=True)]
    expected = []
    for box, _ in candidates:
        heard = [
            max((iou(box, b) * float(s) for b, s in zip(*one, strict=True)), default=0.0) for one in members
        ]
        voters = [(b, float(s)) for b, s in candidates if iou(box, b) >= 0.5]
        place = sum(b * s for b, s in voters) / sum(s for _, s in voters)
        expected.append((sum(heard) / 3, place.tolist()))
    expected.sort(key=lambda pair: -pair[0])
    assert scores.tolist() == pytest.approx([score for score, _ in expected])
    torch.testing.assert_close(boxes, torch.tensor([place for _, place in expected]))


def iou(first: torch.Tensor, second: torch.Tensor) -> float:
    x1, y1, x2, y2 = first.tolist()
    a1, b1, a2, b2 = second.tolist()
    shared = max(0, min(x2, a2) - max(x1, a1)) * max(0, min(y2, b2) - max(y1, b1))
    return shared / ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - shared)


def test_members_that_found_nothing():
    nothing = torch.zeros(0, 4), torch.zeros(0)
    boxes, scores = agreed([nothing, nothing])
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_files_of_other_pictures_are_refused(pictures: OneClassPictures, tmp_path: Path):
    lists(pictures, [0.0, 10.0, 60.0, 90.0]).save(tmp_path / "a.npz")
    pictures.image_ids[1] = "another"
    with pytest.raises(UserError, match=r"a\.npz is of 2 pictures, the split has 2, or they are others"):
        score(tmp_path / "a.npz")
    pictures.classes = ["cat", "cow"]
    with pytest.raises(UserError, match=r"the boxes are of 2 classes, data\.val=.* has 2, or their names"):
        score(tmp_path / "a.npz")


@pytest.mark.parametrize("files", [1, 2])
def test_proposals_of_a_run_are_not_scored_alone(pictures: OneClassPictures, tmp_path: Path, files: int):
    proposals = lists(pictures, [0.0, 10.0, 60.0, 90.0])
    del proposals.about["config"]
    proposals.save(tmp_path / "proposals_val.npz")
    with pytest.raises(
        UserError, match=r"proposals_val\.npz does not say how its boxes were found.*--save-boxes"
    ):
        score(*[tmp_path / "proposals_val.npz"] * files)


@pytest.mark.parametrize("resamples", [0, -1])
def test_resamples_are_checked_before_anything_is_read(tmp_path: Path, resamples: int):
    with pytest.raises(UserError, match=f"--bootstrap must be 1 or more resamples, got {resamples}"):
        score(tmp_path / "absent.npz", bootstrap=resamples)
