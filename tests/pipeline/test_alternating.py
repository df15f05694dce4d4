"""Alternating training by the command: shared layers, resuming in the middle, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from detection.alternate import SHARED, UNSHARED
from detection.build import load_detector
from detection.model.detector import FasterRCNN, TwoTrunkRCNN
from training.loop import TrainingStep

NAMES = [step.name for step in UNSHARED + SHARED]
FILES = ("best.safetensors", "last.safetensors", "predictions.json", "result.json")


class Killed(BaseException):
    """As abrupt as a signal for everything but the operating system."""


@pytest.fixture(scope="module")
def short() -> list[str]:
    """Fewer steps, of a network whose files are small."""
    return ["schedule.total_steps=4", "run.workers=0", "backbone.name=resnet20_cifar"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alternating") / "whole"


@pytest.fixture
def trained(whole: Path, tool: Callable, tiny_detector: list[str], short: list[str]) -> Path:
    """The folder of a four-step training, made once."""
    if not whole.exists():
        tool("train_det", "--out", whole, *tiny_detector, *short, "training=four_step")
    return whole


def part(folder: Path, step: str, name: str) -> dict[str, torch.Tensor]:
    state = load_file(folder / step / "last.safetensors")
    return {key: value for key, value in state.items() if key.startswith(f"{name}.")}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    counters = {name for name in {*first, *second} if name.endswith("num_batches_tracked")}
    names = set(first) - counters  # which fixed normalisation lacks
    assert names and names == set(second) - counters
    return all(torch.equal(first[name], second[name]) for name in names)


def test_what_each_step_trains(trained: Path):
    one, two, three, four = NAMES
    assert same(part(trained, one, "proposal_trunk"), part(trained, two, "proposal_trunk"))
    assert same(part(trained, one, "rpn"), part(trained, two, "rpn"))
    assert not same(part(trained, one, "trunk"), part(trained, two, "trunk"))
    assert not same(part(trained, one, "roi_heads"), part(trained, two, "roi_heads"))
    # The shared layers, running averages of their normalisation included, stay what step 2 made them.
    assert same(part(trained, two, "trunk"), part(trained, three, "trunk"))
    assert same(part(trained, two, "trunk"), part(trained, four, "trunk"))
    assert same(part(trained, two, "roi_heads"), part(trained, three, "roi_heads"))
    assert not same(part(trained, two, "rpn"), part(trained, three, "rpn"))
    assert same(part(trained, three, "rpn"), part(trained, four, "rpn"))
    assert not same(part(trained, three, "roi_heads"), part(trained, four, "roi_heads"))


def test_the_folder_is_that_of_a_detector(trained: Path):
    for name in FILES[:3]:
        assert (trained / name).read_bytes() == (trained / NAMES[-1] / name).read_bytes()
    result = json.loads((trained / "result.json").read_text())
    assert list(result["steps"]) == NAMES and result["steps"][NAMES[-1]] == result["scores"]
    assert set(result["steps"]["step1_rpn"]) == {"recall50", "average_recall"}
    losses = [json.loads((trained / name / "metrics.jsonl").read_text().split("\n")[0]) for name in NAMES]
    assert {name for name in losses[0] if "loss" in name} == {"loss_rpn_objectness", "loss_rpn_box"}
    assert {name for name in losses[1] if "loss" in name} == {"loss_roi_class", "loss_roi_box"}
    model = load_detector(trained / "best.safetensors").model
    assert type(model) is FasterRCNN and same(part(trained, NAMES[1], "trunk"), trunk_of(model))
    unshared = load_detector(trained / NAMES[1] / "best.safetensors").model
    assert type(unshared) is TwoTrunkRCNN
    assert same(part(trained, NAMES[0], "proposal_trunk"), trunk_of(unshared, "proposal_trunk"))


def trunk_of(model: FasterRCNN, name: str = "trunk") -> dict[str, torch.Tensor]:
    return {key: value for key, value in model.state_dict().items() if key.startswith(f"{name}.")}


def test_killed_inside_and_between_steps(
    trained: Path, tool: Callable, tiny_detector: list[str], short: list[str], tmp_path: Path, monkeypatch
):
    options = ["--out", tmp_path / "run", *tiny_detector, *short, "training=four_step"]
    whole_step, taken = TrainingStep.__call__, 0

    def killed_at(number: int) -> None:
        def step(self, state, batches, limit=1):
            nonlocal taken
            taken += 1
            if taken == number:
                raise Killed
            return whole_step(self, state, batches, limit)

        monkeypatch.setattr(TrainingStep, "__call__", step)

    killed_at(8)  # the last of step 2, one after its checkpoint
    with pytest.raises(Killed):
        tool("train_det", *options)
    assert not (tmp_path / "run" / NAMES[2]).exists() and not (tmp_path / "run" / "result.json").exists()
    killed_at(10)  # the first of step 3, before any checkpoint of it
    with pytest.raises(Killed):
        tool("train_det", "--resume", *options)
    killed_at(0)
    tool("train_det", "--resume", *options)
    of_steps = (f"{step}/{name}" for step in NAMES for name in ("metrics.jsonl", "last.safetensors"))
    for file in (*FILES, *of_steps):
        assert (tmp_path / "run" / file).read_bytes() == (trained / file).read_bytes(), file
    ends = [line[21:] for line in (tmp_path / "run" / "log.txt").read_text().splitlines() if "Killed" in line]
    assert ends == ["Killed:", "Killed:"]  # the continued run's log begins where the first one's ended
    tool("train_det", "--resume", *options)  # it has ended: nothing happens
    assert taken == 8 + 2 + 8


def test_features_of_their_own(
    tool: Callable, tiny_detector: list[str], short: list[str], trained: Path, tmp_path: Path
):
    out = tmp_path / "run"
    tool("train_det", "--out", out, *tiny_detector, *short, "training=two_stage")
    # The same two steps as before, and their end is the end.
    assert (out / "last.safetensors").read_bytes() == (trained / NAMES[1] / "last.safetensors").read_bytes()
    tool("eval_det", "--weights", out / "last.safetensors", "--out", tmp_path / "scores")
    scores = json.loads((tmp_path / "scores" / "result.json").read_text())["scores"]
    assert scores == json.loads((out / "result.json").read_text())["scores"]


def test_a_cascade_with_context(tool: Callable, tiny_detector: list[str], short: list[str], tmp_path: Path):
    options = ["training=four_step", "schedule.total_steps=1", "detector.context=true"]
    options += ["roi.stages=3", "detector.class_agnostic=true", "testing.refine=1"]
    tool("train_det", "--out", tmp_path / "run", *tiny_detector, *short, *options)
    for name in (NAMES[1], NAMES[3]):
        line = json.loads((tmp_path / "run" / name / "metrics.jsonl").read_text().split("\n")[0])
        terms = {f"loss_roi_{kind}{stage}" for kind in ("class", "box") for stage in ("", "_2", "_3")}
        assert {name for name in line if "loss" in name} == terms
    last = "roi_heads.later_stages.1"
    assert not same(part(tmp_path / "run", NAMES[2], last), part(tmp_path / "run", NAMES[3], last))
    assert len(load_detector(tmp_path / "run" / "best.safetensors").model.roi_heads.stages) == 3


def test_another_configuration_and_overwriting(
    tool: Callable, refused: Callable, tiny_detector: list[str], short: list[str], tmp_path: Path
):
    options = ["--out", tmp_path / "run", *tiny_detector, *short, "schedule.total_steps=1"]
    options.append("training=two_stage")
    tool("train_det", *options)
    assert "already holds a run" in refused("train_det", *options)
    assert "optim.lr" in refused("train_det", "--resume", *options, "optim.lr=0.5")
    before = (tmp_path / "run" / "last.safetensors").read_bytes()
    (tmp_path / "run" / "step1_rpn" / "note.txt").touch()
    assert "no run of ours" in refused("train_det", "--overwrite", *options, "optim.lr=0.5")
    (tmp_path / "run" / "step1_rpn" / "note.txt").unlink()
    tool("train_det", "--overwrite", *options, "optim.lr=0.5")
    assert (tmp_path / "run" / "last.safetensors").read_bytes() != before
