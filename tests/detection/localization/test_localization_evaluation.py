"""Files of boxes are scored, joined and refused; test_localization.py in pipeline searches with networks."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from detection.improve.box_fusion import FUSION_IOU
from detection.localization import localization_evaluation as evaluation
from detection.localization.box_lists import BoxLists, load_lists, pack_lists
from detection.localization.localization_config import LocalizationConfig
from detection.localization.localization_evaluation import evaluate_localization
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


def test_an_ensemble_is_the_weighted_mean_of_boxes_that_meet(pictures: OneClassPictures, tmp_path: Path):
    lists(pictures, [0.0, 10.0, 60.0, 90.0], 0.75).save(tmp_path / "a.npz")
    lists(pictures, [8.0, 10.0, 60.0, 90.0], 0.25).save(tmp_path / "b.npz")  # an IoU of 52/60
    assert FUSION_IOU < 52 / 60
    score(tmp_path / "a.npz", tmp_path / "b.npz", save_boxes=tmp_path / "both.npz")
    boxes, scores = load_lists(tmp_path / "both.npz").of(0, 2)
    assert boxes.tolist() == [[2, 10, 60, 90]] and scores.tolist() == [0.5]


def test_files_of_other_pictures_are_refused(pictures: OneClassPictures, tmp_path: Path):
    lists(pictures, [0.0, 10.0, 60.0, 90.0]).save(tmp_path / "a.npz")
    pictures.image_ids[1] = "another"
    with pytest.raises(UserError, match=r"a\.npz is of 2 pictures, the split has 2, or they are others"):
        score(tmp_path / "a.npz")
    pictures.classes = ["cat", "cow"]
    with pytest.raises(UserError, match=r"the boxes are of 2 classes, data\.val=.* has 2, or their names"):
        score(tmp_path / "a.npz")
