"""run.cuda_graph in a whole training, on a CPU, where the step itself runs again instead of a capture."""

from pathlib import Path
from typing import Any

import pytest
import torch

from backbones import read_weights
from segmentation.config import SegmentationConfig
from segmentation.segmenter_training import train_segmenter
from training import graph
from training import run as training
from training.config import load_config

TINY = ["model.name=fcn_resnet8_cifar", "model.output_stride=4", "data.kind=shapes", "data.crop=32"]
RUN = [
    "optim.batch_size=2",
    "schedule.total_steps=8",
    "run.workers=0",
    "run.device=cpu",
    "run.pictures=false",
]
LOSS = ["loss.hard_probability=0.7", f"loss.class_weights={[1.0] * 10 + [2.0]}"]


def trained(folder: Path, name: str, *more: str) -> dict[str, torch.Tensor]:
    options = [*TINY, *RUN, *LOSS, f"data.root={folder / 'data'}", "data.short_side=48", *more]
    train_segmenter(load_config(SegmentationConfig, None, options), folder / name)
    state, _ = read_weights(folder / name / "last.safetensors")
    return state


def test_a_captured_training_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plain = trained(tmp_path, "plain")
    recorded: list[str] = []

    def record(body: Any) -> Any:
        recorded.append("step")
        return body

    monkeypatch.setattr(training, "require_capturable", lambda *arguments, **options: None)
    monkeypatch.setattr(graph, "recorder", lambda device: record)
    captured = trained(tmp_path, "captured", "run.cuda_graph=true")
    assert recorded == ["step"]  # all batches have one shape
    for name, value in plain.items():
        torch.testing.assert_close(captured[name], value, rtol=1e-3, atol=1e-4, msg=name)
