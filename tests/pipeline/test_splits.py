"""The doctor and the scorer look for a split where the trainer does."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def own_coco(data_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data_folder / "coco", tmp_path / "coco"))


def test_the_doctor_examines_joined_splits(
    tool: Callable, own_coco: Path, tmp_path: Path, tiny_detector: list[str], capsys: pytest.CaptureFixture
):
    config = tmp_path / "a.yaml"
    config.write_text("data: {kind: coco}\nschedule: {total_steps: 3}\n")
    options = [*tiny_detector, f"data.root={own_coco}", "data.train=train+val", "data.val=val"]
    with pytest.raises(SystemExit) as left:
        tool("doctor", "--config", config, *options, "--quick", "backbone.name=resnet18")
    printed = capsys.readouterr().out
    # 8 + 4 pictures; those of val are trained on.
    assert left.value.code == 1 and "epochs of 12 pictures" in printed and "leak" in printed


def test_the_report_draws_pictures_of_minival(tool: Callable, own_coco: Path, tmp_path: Path):
    file = own_coco / "annotations" / "instances_minival2014.json"
    (own_coco / "annotations" / "instances_val.json").rename(file)
    (own_coco / "val").rename(own_coco / "val2014")
    content = json.loads(file.read_text())
    found = [
        {**{key: entry[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.5}
        for entry in content["annotations"]
    ]
    (tmp_path / "found.json").write_text(json.dumps(found))
    out = tmp_path / "report"
    tool(
        "eval_det",
        "--predictions",
        tmp_path / "found.json",
        "--dataset",
        f"coco:{file}",
        "--report",
        "--out",
        out,
    )
    assert json.loads((out / "result.json").read_text())["scores"]["AP"] == 1
