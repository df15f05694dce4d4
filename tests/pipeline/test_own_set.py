"""A set of one's own from a folder to a trained detector in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from detection.recipes import recipe
from foundation.errors import WeightsError

TINY = [
    *("rpn.pre_nms_train=50", "rpn.post_nms_train=20", "rpn.pre_nms_test=20", "rpn.post_nms_test=8"),
    *("roi.regions_per_image=4", "roi.channels=16", "run.device=cpu", "run.workers=0"),
]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No published weights can be had."""

    def refuse(weights: str) -> Path:
        raise WeightsError(f"{weights} was not downloaded")

    monkeypatch.setattr(recipe, "find_weights", refuse)


@pytest.fixture
def my_set(tmp_path: Path) -> Path:
    """One picture of 10 x 5 with one object to train on, and the same to validate."""
    for split in ("train", "valid"):
        folder = tmp_path / "my_set" / split
        folder.mkdir(parents=True)
        Image.new("RGB", (10, 5), "red").save(folder / "a.jpg")
        content = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 10, "height": 5}],
            "categories": [{"id": 1, "name": "thing"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 1, 4, 3], "area": 12, "iscrowd": 0}
            ],
        }
        (folder / "_annotations.coco.json").write_text(json.dumps(content))
    return tmp_path / "my_set"


def test_one_tiny_picture_trains_alone(
    tool: Callable, my_set: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.chdir(my_set.parent)
    caplog.set_level("INFO")
    short = ["data.root=my_set", *TINY, "schedule.epochs=8"]
    tool("train_det", *short)
    written = yaml.safe_load(Path("runs/my_set/config.yaml").read_text())
    assert (written["data"]["kind"], written["schedule"]["total_steps"]) == ("coco", 4)
    assert (written["backbone"]["norm"], written["backbone"]["weights"]) == ("batch", None)
    assert "4 steps of 2 pictures are 8 epochs of 1" in caplog.text
    tool("train_det", "--resume", *short, "schedule.epochs=12")
    assert json.loads(Path("runs/my_set/result.json").read_text())["step"] == 6


def test_wrong_inputs(refused: Callable, my_set: Path, tmp_path: Path):
    assert "none: no such folder; data.root names" in refused("train_det", f"data.root={tmp_path / 'none'}")
    (tmp_path / "empty").mkdir()
    assert "say what it is: data.kind=" in refused("train_det", f"data.root={tmp_path / 'empty'}")
    both = ["schedule.epochs=1", "schedule.total_steps=5"]
    message = refused("train_det", f"data.root={my_set}", *TINY, *both)
    assert "schedule.total_steps=5 and schedule.epochs=1 exclude each other" in message
    for value, problem in (("0", "must be positive, got 0"), ("ten", "expected a valid number, got 'ten'")):
        message = refused("train_det", f"data.root={my_set}", *TINY, f"schedule.epochs={value}")
        assert "command line:" in message and problem in message
    named = ["backbone.weights=torchvision/resnet19.IMAGENET1K_V1"]
    assert "unknown weights 'torchvision/resnet19" in refused(
        "train_det", f"data.root={my_set}", *TINY, *named
    )
