"""The modern recipe, every option on, through the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backbones import read_weights
from training.loop import TrainState
from training.run import BetweenSteps

RECIPE = [
    *("data.policy=rand-m7-mstd0.5-inc1", "data.erase=0.3", "data.eval_size=24", "data.resize=24"),
    *("data.image_size=16", "loss.kind=binary", "loss.target_threshold=0.2"),
    *("mixing.mixup=0.2", "mixing.cutmix=1", "optim.kind=lamb", "optim.lr=0.005", "optim.ema_decay=0.9"),
    *("optim.decay_norm_and_bias=false", "schedule.total_steps=6", "run.checkpoint_every=3"),
]


@pytest.fixture
def recipe(tiny_classifier: list[str]) -> list[str]:
    pytest.importorskip("timm")
    # Each key once: the later options are the recipe's.
    values = dict(option.split("=", 1) for option in [*tiny_classifier, *RECIPE, "run.workers=2"])
    return [f"{key}={value}" for key, value in values.items()]


def test_killed_and_continued_with_everything_on(
    tool: Callable, recipe: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tool("pretrain", "--out", tmp_path / "whole", *recipe)
    with monkeypatch.context() as patch:
        patch.setattr(BetweenSteps, "checkpoint", killed_after(BetweenSteps.checkpoint, step=3))
        with pytest.raises(SystemExit):
            tool("pretrain", "--out", tmp_path / "killed", *recipe)
    tool("pretrain", "--out", tmp_path / "killed", "--resume", *recipe)
    for file in ("metrics.jsonl", "result.json", "best.safetensors", "last.safetensors"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file

    # No worker, no change; and the file says how its weights were made.
    tool("pretrain", "--out", tmp_path / "alone", *recipe, "run.workers=0")
    whole, alone = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "alone"))
    assert all(torch.equal(value, alone[name]) for name, value in whole.items())
    _, header = read_weights(tmp_path / "whole" / "last.safetensors")
    assert header is not None and header.config["optim"]["ema_decay"] == 0.9
    assert header.score == json.loads((tmp_path / "whole" / "result.json").read_text())["scores"]

    # Those are the averages; the weights themselves go on in the checkpoint.
    checkpoint = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    assert torch.equal(checkpoint["average"]["averages"]["fc.weight"], whole["fc.weight"])
    assert not torch.equal(checkpoint["model"]["fc.weight"], whole["fc.weight"])


def killed_after(method: Callable, step: int) -> Callable:
    """The method, and after it the end if it was called at this step."""

    def call(between: BetweenSteps, state: TrainState) -> None:
        method(between, state)
        if state.step == step:
            raise KeyboardInterrupt

    return call
