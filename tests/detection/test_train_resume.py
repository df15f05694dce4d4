"""What would end a detector's first evaluation ends it before the first step; runs go on after a move."""

import json
from pathlib import Path
from typing import Any

import pytest

from detection import train as training
from detection.config import DetectionConfig
from detection.data.dataset_splits import open_dataset
from detection.train import finetune
from foundation.errors import UserError
from training.config import load_config


@pytest.fixture
def options(tiny_options: list[str], classifier_weights: Path) -> list[str]:
    """Two steps, an evaluation after each."""
    return [
        *(*tiny_options, f"backbone.weights={classifier_weights}", "data.train=val", "optim.batch_size=2"),
        *("schedule.total_steps=2", "run.log_every=1", "run.eval_every=1"),
    ]


def config(options: list[str], root: Path) -> DetectionConfig:
    return load_config(DetectionConfig, None, [*options, f"data.root={root}"])


def annotations(root: Path) -> Path:
    return root / "annotations" / "instances_val.json"


def edit(root: Path, section: str, **values: Any) -> None:
    """Changes the first entry of a section of the annotation file."""
    content = json.loads(annotations(root).read_text())
    content[section][0].update(values)
    annotations(root).write_text(json.dumps(content))


def test_a_broken_validation_picture(options: list[str], coco_root: Path, tmp_path: Path):
    (coco_root / "val" / "b.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"b\.jpg.*\n1 of 3 validation pictures cannot be read"):
        finetune(config(options, coco_root), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_annotations_that_cannot_be_scored(
    options: list[str], coco_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(predictions: Any, dataset: Any, metric: str) -> dict:
        assert len(predictions) == len(dataset) and not any(len(found.boxes) for found in predictions)
        raise UserError("annotation 7 has a wrong area")

    monkeypatch.setattr(training, "score", refuse)
    with pytest.raises(UserError, match="wrong area"):
        finetune(config(options, coco_root), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def interrupted(options: list[str], root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends at the evaluation after its first step."""
    score = training.score
    with monkeypatch.context() as patched:
        calls = iter([True, False])  # the first is of a detector that finds nothing
        patched.setattr(training, "score", lambda *given: score(*given) if next(calls) else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finetune(config(options, root), out)


def test_a_run_goes_on_where_its_data_and_weights_have_moved(
    options: list[str],
    coco_root: Path,
    classifier_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    finetune(config(options, coco_root), tmp_path / "whole")
    interrupted(options, coco_root, tmp_path / "moved", monkeypatch)
    coco_root.rename(tmp_path / "elsewhere")
    gone = [*options, "backbone.weights=gone.safetensors"]
    finetune(config(gone, tmp_path / "elsewhere"), tmp_path / "moved", resume=True)
    for name in ("metrics.jsonl", "result.json", "predictions.json"):
        assert (tmp_path / "moved" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("annotations", {"bbox": [0, 0, 2, 2]}),
        ("annotations", {"iscrowd": 1}),
        ("images", {"id": 99}),
    ],
)
def test_a_run_does_not_go_on_with_other_annotations(
    options: list[str],
    coco_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    section: str,
    values: dict,
):
    interrupted(options, coco_root, tmp_path / "run", monkeypatch)
    if section == "images":
        content = json.loads(annotations(coco_root).read_text())
        old = content["images"][0]["id"]
        for entry in content["annotations"]:
            entry["image_id"] = 99 if entry["image_id"] == old else entry["image_id"]
        annotations(coco_root).write_text(json.dumps(content))
    edit(coco_root, section, **values)
    with pytest.raises(UserError, match="made with other data: training annotations [0-9a-f]+ before"):
        finetune(config(options, coco_root), tmp_path / "run", resume=True)


def test_segmentations_belong_to_the_fingerprint_where_masks_are_asked_for(
    options: list[str], coco_root: Path
):
    data = config(options, coco_root).data
    before = [open_dataset(data, "val", masks=masks).fingerprint() for masks in (False, True)]
    edit(coco_root, "annotations", segmentation=[[0, 0, 3, 0, 3, 3]])
    after = [open_dataset(data, "val", masks=masks).fingerprint() for masks in (False, True)]
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)
