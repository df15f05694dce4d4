"""run.cuda_graph in whole trainings, on a CPU, where the function itself runs again instead of a capture."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from detection.build import build_detector
from detection.config import DetectionConfig
from detection.data.dataset_splits import open_dataset
from detection.train import detection_task, finetune
from foundation.errors import UserError
from training import graph
from training import run as training
from training.config import load_config
from training.graph import GraphedSteps
from training.loop import StepReport


@pytest.fixture
def options(tiny_options: list[str], coco_root: Path) -> list[str]:
    """Of a training whose pictures have two sizes."""
    scratch = ["backbone.norm=batch", "backbone.frozen_stages=0", "backbone.name=resnet20_cifar"]
    data = [f"data.root={coco_root}", "data.train=val", "data.train_short_sides=[32, 64]"]
    run = ["run.log_every=1", "run.eval_every=7", "run.checkpoint_every=4", "optim.batch_size=1"]
    return [*tiny_options, *scratch, *data, *run, "schedule.total_steps=14"]


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets trainings be captured here; returns "step" and "network" for every recording made."""
    recorded: list[str] = []

    def record(body: Any) -> Any:
        recorded.append("step" if torch.is_grad_enabled() else "network")
        return body

    monkeypatch.setattr(training, "require_capturable", lambda *arguments, **options: None)
    monkeypatch.setattr(graph, "recorder", lambda device: record)
    return recorded


def run(options: list[str], out: Path, *, cuda_graph: bool = True, resume: bool = False) -> None:
    config = load_config(DetectionConfig, None, [*options, f"run.cuda_graph={str(cuda_graph).lower()}"])
    finetune(config, out, resume=resume)


def assert_same_reports(ours: Path, theirs: Path) -> None:
    mine, others = (
        [
            json.loads(line.replace("null", "-1"))
            for line in (folder / "metrics.jsonl").read_text().splitlines()
        ]
        for folder in (ours, theirs)
    )
    assert len(mine) == len(others) > 12
    for line, other in zip(mine, others, strict=True):
        assert line == pytest.approx(other, rel=0.05, abs=0.01)


def test_the_same_training(options: list[str], without_gpu: list[str], tmp_path: Path):
    run(options, tmp_path / "plain", cuda_graph=False)
    assert without_gpu == []
    run(options, tmp_path / "captured")
    assert without_gpu.count("step") == 2
    assert_same_reports(tmp_path / "captured", tmp_path / "plain")


def test_evaluation_is_captured_anew_each_time(
    options: list[str], without_gpu: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(graph, "WARM_UP", 1)
    run(options, tmp_path / "run")
    assert without_gpu.count("network") == 2  # three pictures of one size at steps 7 and 14


def test_killed_and_resumed(
    options: list[str], without_gpu: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    run(options, tmp_path / "whole")
    take = GraphedSteps.__call__

    def killed(self: GraphedSteps, state: Any, batches: Any, limit: int) -> StepReport:
        if state.step == 10:
            raise KeyboardInterrupt
        return take(self, state, batches, limit)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(GraphedSteps, "__call__", killed)
        run(options, tmp_path / "killed")
    run(options, tmp_path / "killed", resume=True)
    for name in ("last.safetensors", "best.safetensors", "result.json", "predictions.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_alternating_training(options: list[str], without_gpu: list[str], tmp_path: Path):
    short = [*options, "training=two_stage", "schedule.total_steps=12", "run.eval_every=12"]
    run(short, tmp_path / "plain", cuda_graph=False)
    run(short, tmp_path / "captured")
    assert without_gpu.count("step") >= 2
    for step in ("step1_rpn", "step2_fast_rcnn"):
        assert_same_reports(tmp_path / "captured" / step, tmp_path / "plain" / step)


def test_it_is_refused_without_a_gpu(options: list[str], tmp_path: Path):
    with pytest.raises(UserError, match="run.cuda_graph needs one process, a CUDA GPU, SGD .* is on cpu"):
        run(options, tmp_path / "one")
    with pytest.raises(UserError, match="run.cuda_graph needs .* is on cpu; use run.cuda_graph=false"):
        run([*options, "training=four_step"], tmp_path / "four")


@pytest.mark.parametrize(("objects", "plain", "captured"), [(2, 8, 8), (17, 24, 32), (33, 40, 64)])
def test_room_for_a_power_of_two(
    options: list[str], coco_root: Path, tmp_path: Path, objects: int, plain: int, captured: int
):
    file = coco_root / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    first = content["annotations"][0]
    content["annotations"] = [{**first, "id": number} for number in range(1, objects + 1)]
    content["images"] = [entry for entry in content["images"] if entry["id"] == first["image_id"]]
    file.write_text(json.dumps(content))
    for cuda_graph, slots in (("false", plain), ("true", captured)):
        config = load_config(DetectionConfig, None, [*options, f"run.cuda_graph={cuda_graph}"])
        dataset = open_dataset(config.data, "val")
        task = detection_task(config, build_detector(config, 2), dataset, dataset, tmp_path)
        batch = next(iter(task.batches(0)))
        assert batch.boxes.shape == (1, slots, 4) and batch.labels.shape == batch.valid.shape == (1, slots)
        assert batch.valid.sum() == objects and batch.valid[:, :objects].all()
