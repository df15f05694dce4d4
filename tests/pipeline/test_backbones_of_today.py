"""Detectors on ConvNeXt and a plain transformer of timm, from weights to a scored run, by the commands."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

timm = pytest.importorskip("timm")
NETWORKS = {"convnext_atto": "fpn", "vit_tiny_patch16_224": "simple_fpn"}
FIVE_MAPS = [
    *("rpn.anchor_sizes=[8,16,32,64,128]", "roi.channels=16", "detector.pyramid_channels=8"),
    *("optim.kind=adamw", "optim.lr=0.0001", "optim.weight_decay=0.05"),
]


@pytest.mark.parametrize("name", NETWORKS)
def test_from_timms_file_to_a_scored_detector(
    name: str, tool: Callable, tiny_detector: list[str], tmp_path: Path
):
    torch.manual_seed(0)
    torch.save(timm.create_model(name).state_dict(), tmp_path / "theirs.pth")
    # Each key once. Frozen normalisation is the default, and means nothing here.
    values = dict(option.split("=", 1) for option in [*tiny_detector, *FIVE_MAPS]) | {
        "backbone.name": f"timm/{name}",
        "backbone.weights": str(tmp_path / "theirs.pth"),
        "backbone.norm": "frozen",
        "detector.kind": NETWORKS[name],
        "schedule.total_steps": "2",
        "run.eval_every": "2",
    }
    tool("train_det", "--out", tmp_path / "run", *(f"{key}={value}" for key, value in values.items()))
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert max(entry["step"] for entry in steps) == 2
    scores = json.loads((tmp_path / "run" / "result.json").read_text())["scores"]
    tool("eval_det", "--weights", tmp_path / "run" / "last.safetensors", "--out", tmp_path / "again")
    again = json.loads((tmp_path / "again" / "result.json").read_text())["scores"]
    assert again == scores and "AP50" in scores
