"""The command that trains a detector on a few pictures until it knows them by heart."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


def test_the_command_trains_and_scores_on_the_same_pictures(
    tool: Callable, tiny_detector: list[str], data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    content = json.loads((data_folder / "coco" / "annotations" / "instances_train.json").read_text())
    for annotation in content["annotations"]:
        annotation["area"] = 2000  # Shapes are small
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))
    (root / "images").symlink_to(data_folder / "coco" / "train")  # as sets that keep all splits together
    options = [*tiny_detector, "data.kind=coco", f"data.root={root}", "detector.mask=true"]
    options += [
        "detector.kind=c4",
        "data.train=train",
        "roi.size=4",
        "schedule.total_steps=2",
        "run.eval_every=2",
    ]
    tool("overfit", "--pictures", 2, "--out", tmp_path / "run", *options)
    assert "of the masks: AP" in capsys.readouterr().out
    found = json.loads((tmp_path / "run" / "predictions.json").read_text())
    chosen = json.loads((tmp_path / "run_data" / "annotations" / "instances_overfit2.json").read_text())
    ids = {entry["id"] for entry in chosen["images"]}
    assert len(ids) == 2 and {record["image_id"] for record in found} <= ids


def test_a_set_of_any_kind_is_overfitted(
    tool: Callable, tiny_detector: list[str], tmp_path: Path, refused: Callable
):
    root = tmp_path / "set"
    root.mkdir()
    for name in "ab":
        Image.new("RGB", (100, 100)).save(root / f"{name}.jpg")
    (root / "boxes.csv").write_text(
        "file,xmin,ymin,xmax,ymax,label\na.jpg,0,0,31,32,cat\nb.jpg,10,10,42,42,cat\n"
    )
    options = [*tiny_detector, "data.kind=csv", f"data.root={root}", "data.val=all", "data.train=all"]
    options += ["detector.kind=c4", "detector.mask=false", "schedule.total_steps=2", "run.eval_every=2"]
    tool("overfit", "--pictures", 1, "--out", tmp_path / "run", *options)
    chosen = json.loads((tmp_path / "run_data" / "annotations" / "instances_overfit1.json").read_text())
    assert [entry["file_name"] for entry in chosen["images"]] == [
        str(root / "b.jpg")
    ]  # a's is small: 31 x 32
    assert "only 1 have 1 to 4 objects" in refused("overfit", "--out", tmp_path / "two", *options)
