"""The comparison of starting points: its runs, its table and what its curves are drawn from."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from detection.config import DetectionConfig
from reproduction import trainings
from reproduction.detectors.transfer import (
    STARTS,
    Comparison,
    compare,
    read_losses_and_scores,
    starts_of,
    variant,
)
from training.config import load_config

CONFIG = load_config(DetectionConfig, None, ["optim.lr=0.02", "run.seed=9", "backbone.name=resnet18"])


def result(**scores: float) -> dict[str, Any]:
    return {"metric": "coco", "step": 40, "scores": scores}


def test_table_by_hand():
    comparison = Comparison(
        {
            "pretrained": [result(AP=0.30, AP50=0.50, APs=0.1), result(AP=0.34, AP50=0.60, APs=0.1)],
            "pretrained_unfrozen": [result(AP=0.36, AP50=0.60, APs=0.1), result(AP=0.36, AP50=0.60, APs=0.1)],
            "scratch": [result(AP=0.10, AP50=0.70, APs=0.1), result(AP=0.10, AP50=0.72, APs=0.1)],
        }
    )
    # AP: 32 ± sqrt(2 · 2² / 1) = 2.83, 36 and 10. AP50: 55 ± 7.07, 60 and 71 ± 1.41.
    assert comparison.table().splitlines() == [
        "| coco, %, 40 steps, seeds: 2 | AP | AP50 |",
        "| --- | --- | --- |",
        "| pretrained | 32.0 ± 2.8 | 55.0 ± 7.1 |",
        "| pretrained_unfrozen | 36.0 ± 0.0 | 60.0 ± 0.0 |",
        "| scratch | 10.0 ± 0.0 | 71.0 ± 1.4 |",
        "| what the weights add | +26.0 | -11.0 |",
        "| what freezing adds | -4.0 | -5.0 |",
    ]


def test_table_of_one_seed_where_nothing_is_frozen():
    run = {"metric": "voc07", "step": 1, "scores": {"mAP": 0.5}}
    lines = Comparison({"pretrained": [run], "scratch": [run]}).table().splitlines()
    assert lines[0] == "| voc07, %, 1 steps, seeds: 1 | mAP |"
    assert lines[2:] == ["| pretrained | 50.0 |", "| scratch | 50.0 |", "| what the weights add | +0.0 |"]


def test_the_starts_differ_in_the_backbone_alone():
    configs = {start: variant(CONFIG, start, "w.safetensors", 3) for start in STARTS}
    for config in configs.values():
        run = dataclasses.replace(config.run, seed=9)
        assert dataclasses.replace(config, backbone=CONFIG.backbone, run=run) == CONFIG
        assert config.run.seed == 3
    pretrained, unfrozen, scratch = (configs[start].backbone for start in STARTS)
    assert pretrained == dataclasses.replace(CONFIG.backbone, weights="w.safetensors")
    assert (pretrained.norm, pretrained.frozen_stages) == ("frozen", 2)
    assert unfrozen == dataclasses.replace(pretrained, norm="batch", frozen_stages=0)
    assert scratch == dataclasses.replace(unfrozen, weights=None)  # the weights alone


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["backbone.norm=batch", "backbone.frozen_stages=0"], ["pretrained", "scratch"]),
        (["backbone.norm=batch", "backbone.frozen_stages=1"], list(STARTS)),
        (["backbone.norm=frozen", "backbone.frozen_stages=0"], list(STARTS)),
    ],
)
def test_starts_that_would_be_the_same_run_once(options: list[str], expected: list[str]):
    assert starts_of(load_config(DetectionConfig, None, options)) == expected


def test_synchronised_normalisation_stays_so():
    config = load_config(DetectionConfig, None, ["backbone.norm=sync"])
    assert [variant(config, start, "w", 0).backbone.norm for start in STARTS] == ["sync"] * 3


def test_curves(tmp_path: Path):
    lines = [
        {"step": 1, "loss_rpn_box": 1.0, "loss_roi_class": 0.5, "lr": 9.0},
        {"step": 2, "val/AP": 0.25, "val/AP50": 0.9},
        {"step": 2, "loss_rpn_box": 0.5, "loss_roi_class": 0.25, "lr": 9.0},
        {"step": 3, "val/AP": None},
        {"step": 4, "val/mAP": 0.75},
    ]
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_losses_and_scores(file) == ([(1, 1.5), (2, 0.75)], [(2, 0.25), (4, 0.75)])


def test_runs_of_a_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []

    def stand_in(config: DetectionConfig, out: Path, *, resume: bool, overwrite: bool) -> dict[str, Any]:
        calls.append((out.name, config.run.seed, config.backbone.weights, resume, overwrite))
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").touch()
        # The smallest run possible: nothing was found in it.
        (out / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 1, "val/AP": null}\n')
        return result(AP=0.1 * config.run.seed)

    monkeypatch.setattr(trainings, "finetune", stand_in)
    first = compare(CONFIG, "w", 1, tmp_path, resume=False, overwrite=False)
    assert calls == [
        ("pretrained_seed0", 0, "w", False, False),
        ("pretrained_unfrozen_seed0", 0, "w", False, False),
        ("scratch_seed0", 0, None, False, False),
    ]
    assert first.scores("scratch", "AP") == [0.0]
    calls.clear()
    # One more seed: what has begun goes on, what has not begins.
    both = compare(CONFIG, "w", 2, tmp_path, resume=True, overwrite=False)
    assert [(name, resume) for name, *_, resume, _ in calls] == [
        *((f"{start}_seed{seed}", seed == 0) for seed in (0, 1) for start in STARTS)
    ]
    assert both.scores("pretrained", "AP") == [0, 10]
    assert json.loads((tmp_path / "comparison.json").read_text()) == both.results
    assert Image.open(tmp_path / "curves.png").format == "PNG"
