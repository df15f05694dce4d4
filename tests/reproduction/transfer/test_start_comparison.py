"""The comparison of starting points: its runs, its record, and what its curves are drawn from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection.config import DetectionConfig
from foundation.errors import UserError
from reproduction import trainings
from reproduction.results.experiments import Experiment
from reproduction.results.paired_groups import Group
from reproduction.results.run_records import read_record
from reproduction.transfer.detector_starts import DetectorStarts
from reproduction.transfer.segmenter_starts import SegmenterStarts
from reproduction.transfer.start_comparison import (
    STARTS,
    compare,
    load_for_task,
    names_of_starts,
    read_losses_and_scores,
)
from segmentation.config import SegmentationConfig
from training.config import load_config

CONFIG = load_config(DetectionConfig, None, ["optim.lr=0.02", "run.seed=9", "backbone.name=resnet18"])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["norm=batch", "frozen_stages=0"], ["pretrained", "scratch"]),
        (["norm=batch", "frozen_stages=1"], list(STARTS)),
        (["norm=frozen", "frozen_stages=0"], list(STARTS)),
    ],
)
def test_starts_that_would_be_the_same_run_once(options: list[str], expected: list[str]):
    for starts, section in ((DetectorStarts(), "backbone"), (SegmenterStarts(), "model")):
        config = load_config(starts.schema, None, [f"{section}.{option}" for option in options])
        assert names_of_starts(starts, config) == expected


@pytest.mark.parametrize(
    ("name", "starts", "schema"),
    [
        ("pennfudan_mrcnn_r18_fpn", DetectorStarts, DetectionConfig),
        ("pennfudan_deeplabv3_r18", SegmenterStarts, SegmentationConfig),
        ("shapes_fcn_r18", SegmenterStarts, SegmentationConfig),
    ],
)
def test_the_task_is_that_of_the_configuration(root: Path, name: str, starts: type, schema: type):
    file = root / "configs" / f"{name}.yaml"
    found, config = load_for_task(file, ["optim.lr=0.5"])
    assert type(found) is starts and type(config) is schema and config.optim.lr == 0.5
    with pytest.raises(UserError, match="optim.lrr: unknown key") as caught:
        load_for_task(file, ["optim.lrr=0.5"])
    assert len(str(caught.value).splitlines()) == 2  # of its own task, not of all the keys that another lacks


@dataclass
class WorkedStarts(DetectorStarts):
    """Figures as the stand-in below has them, and 41 resamples of each start."""

    def read(self, config: DetectionConfig, folders: Sequence[Path], results: Sequence[Any]) -> Group:
        scores = [100 * result["scores"]["mAP"] for result in results]
        mean = sum(scores) / len(scores)
        spread = 3 if "scratch" in folders[0].name else 1
        return Group({"mAP": scores}, {"mAP": mean + spread * np.linspace(1, -1, 41)}, "same")


def test_runs_and_record_of_a_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []
    scores = {"pretrained": 0.5, "pretrained_unfrozen": 0.6, "scratch": 0.1}

    def stand_in(config: DetectionConfig, out: Path, *, resume: bool, overwrite: bool) -> dict[str, Any]:
        calls.append((out.name, config.run.seed, config.backbone.weights, resume, overwrite))
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").touch()
        # The smallest run possible: nothing was found in it.
        (out / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 1, "val/AP": null}\n')
        score = scores[out.name.rpartition("_")[0]] + 0.02 * config.run.seed
        return {"metric": "voc07", "step": 40, "scores": {"mAP": score}}

    monkeypatch.setattr(trainings, "finetune", stand_in)
    monkeypatch.setattr("sys.argv", ["tools/transfer.py", "--weights", "w", "--resume"])
    compare(WorkedStarts(), CONFIG, "w", 1, tmp_path, resume=False, overwrite=False)
    assert calls == [
        ("pretrained_seed0", 0, "w", False, False),
        ("pretrained_unfrozen_seed0", 0, "w", False, False),
        ("scratch_seed0", 0, None, False, False),
    ]
    calls.clear()
    # One more seed: what has begun goes on, what has not begins.
    found = compare(WorkedStarts(), CONFIG, "w", 2, tmp_path, resume=True, overwrite=False)
    assert [(name, resume) for name, *_, resume, _ in calls] == [
        *((f"{start}_seed{seed}", seed == 0) for seed in (0, 1) for start in STARTS)
    ]
    # 50 and 52: 51 ± sqrt(2), and so on. Each resample of a pretrained start is off its mean by a third of
    # what that from scratch is, at most by 1 and 3: differences by up to 2, of which 95 % are within 1.9.
    assert found is not None and found.markdown().splitlines() == [
        "| start, voc07 | mAP, % |",
        "| --- | ---: |",
        "| pretrained | 51.0 ± 1.4 |",
        "| pretrained_unfrozen | 61.0 ± 1.4 |",
        "| scratch | 11.0 ± 1.4 |",
        "| pretrained less scratch | +40.0 (+38.1 to +41.9) |",
        "| pretrained_unfrozen less scratch | +50.0 (+48.1 to +51.9) |",
        "| pretrained_unfrozen less pretrained | +10.0 (+10.0 to +10.0) |",
    ]
    assert found.commands == ("python tools/transfer.py --weights w",)
    assert (found.seeds, found.steps) == ((0, 1), 40)
    kept = read_record(tmp_path / "transfer.json")
    assert isinstance(kept, Experiment) and kept == found
    assert Image.open(tmp_path / "curves.png").format == "PNG"


def test_two_starts_have_one_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stand_in(config: DetectionConfig, out: Path, **flags: bool) -> dict[str, Any]:
        out.mkdir(parents=True)
        (out / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 1, "val/mAP": 0.5}\n')
        return {"metric": "voc07", "step": 1, "scores": {"mAP": 0.5}}

    monkeypatch.setattr(trainings, "finetune", stand_in)
    config = replace(CONFIG, backbone=replace(CONFIG.backbone, norm="batch", frozen_stages=0))
    found = compare(WorkedStarts(), config, "w", 1, tmp_path, resume=False, overwrite=False)
    assert found is not None
    assert [row.labels["start"] for row in found.rows] == ["pretrained", "scratch", "pretrained less scratch"]
    content = json.loads((tmp_path / "transfer.json").read_text())
    assert content["rows"][0]["scores"] == {"mAP": {"values": [50.0]}}
    assert content["rows"][2]["between"] == ["pretrained", "scratch"]


def test_curves(tmp_path: Path):
    lines = [
        {"step": 1, "loss_rpn_box": 1.0, "loss_roi_class": 0.5, "lr": 9.0},
        {"step": 2, "val/AP": 0.25, "val/AP50": 0.9},
        {"step": 2, "loss_rpn_box": 0.5, "loss_roi_class": 0.25, "lr": 9.0},
        {"step": 3, "val/AP": None},
        {"step": 4, "val/mAP": 0.75},
        {"step": 5, "val/mIoU": 0.5, "val/pixel_accuracy": 0.9},
    ]
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_losses_and_scores(file) == ([(1, 1.5), (2, 0.75)], [(2, 0.25), (4, 0.75), (5, 0.5)])
