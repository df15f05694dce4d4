"""What is chosen for sets of several sizes, what the user's own values change, and that it trains."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection.own_sets.split_opener import SplitOpener
from detection.recipes import recipe as module
from detection.recipes.recipe import CPU, GPU, choose, is_own_set, own_set_config, spanning_sizes
from detection.recipes.set_facts import SetFacts
from foundation.errors import UserError, WeightsError
from tests.detection.conftest import CocoWriter, VocWriter


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The published weights that were asked for; all can be had."""
    names: list[str] = []
    for find in ("find_weights", "find_detector"):
        monkeypatch.setattr(module, find, names.append)
    monkeypatch.setattr(module, "architecture", lambda weights: ["rpn.channels=99", "rpn.anchor_sizes=[1.0]"])
    return names


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No published weights can be had."""

    def refuse(weights: str) -> Path:
        raise WeightsError(f"{weights} was not downloaded;\nput the file there")

    for find in ("find_weights", "find_detector"):
        monkeypatch.setattr(module, find, refuse)


def facts(
    pictures: int, *, short: float = 480, long: float = 640, box: float = 100, masks: bool = False
) -> SetFacts:
    """Pictures of one size with one square object each."""
    sides, boxes = np.tile([short, long], (pictures, 1)), np.full((pictures, 2), box)
    return SetFacts(3, sides, boxes, np.arange(pictures), masks)


def values(
    pictures: int, given: dict[str, Any] | None = None, scale: Any = GPU, **about: Any
) -> dict[str, Any]:
    """What is chosen."""
    return choose(facts(pictures, **about), given or {}, scale).values


def test_a_middling_set_on_a_gpu():
    # 400 pictures: 1200 / 20 = 60 epochs of 50 steps; milestones at 2/3 and 8/9 of them.
    chosen = values(400, masks=True)
    assert (chosen["backbone.name"], chosen["detector.kind"]) == ("resnet50", "fpn")
    assert chosen["model.weights"] == "torchvision/maskrcnn_resnet50_fpn.COCO_V1"
    assert chosen["rpn.channels"] == 99 and "backbone.weights" not in chosen
    assert chosen["detector.mask"] and chosen["metric"] == "coco"
    assert (chosen["data.short_side"], chosen["data.max_side"]) == (
        800,
        1184,
    )  # 800 x 640/480 x 1.1, rounded up
    assert (chosen["schedule.epochs"], chosen["optim.batch_size"]) == (60, 8)
    assert chosen["schedule.milestone_epochs"] == [40, 53.333]
    assert (chosen["run.eval_epochs"], chosen["schedule.warmup_steps"]) == (3, 300)


@pytest.mark.parametrize(
    ("pictures", "scale", "epochs"),
    [
        (100_000, GPU, 12),  # never fewer
        (144, GPU, 100),  # never more, if that is enough steps
        (4, GPU, 400),  # 200 steps of 8 pictures
        (1, CPU, 400),  # 200 steps of 2 pictures
        (1200, CPU, 1),  # 600 steps of 2 pictures
    ],
)
def test_epochs(pictures: int, scale: Any, epochs: float):
    assert values(pictures, scale=scale)["schedule.epochs"] == epochs


def test_tiny_pictures_are_enlarged_to_two_cells():
    assert values(1, short=5, long=10)["data.short_side"] == 64
    assert values(1, short=50, long=60)["data.short_side"] == 128  # twice, rounded up to 32


def test_what_depends_on_given_values_follows_them():
    chosen = values(
        400, {"schedule.epochs": 3, "data.short_side": 100, "optim.batch_size": 4, "data.kind": "voc"}
    )
    assert chosen["schedule.milestone_epochs"] == [2, 2.667] and chosen["run.eval_epochs"] == 1
    assert chosen["data.max_side"] == 160  # 100 x 640/480 x 1.1 is 147
    assert chosen["schedule.warmup_steps"] == 30 and chosen["metric"] == "voc12"
    assert values(400, {"schedule.total_steps": 100})["schedule.warmup_steps"] == 10
    assert "schedule.milestone_epochs" not in values(400, {"schedule.kind": "cosine"})
    assert values(9, {"data.kind": "voc", "data.train": "2007:train"})["metric"] == "voc07"
    assert values(9, {"data.kind": "imagenet_det"})["metric"] == "ilsvrc_det"


def test_several_processes_share_a_batch():
    assert choose(facts(400), {"optim.accumulate": 3}, CPU, processes=2).values["optim.batch_size"] == 6


def test_anchors_of_other_sizes_only_where_the_usual_cover_few():
    own = {"backbone.name": "resnet34"}
    assert "rpn.anchor_sizes" not in values(10, own, short=800, long=1000, box=128)
    # 5 pixels, doubled: sizes over a factor of 4 about 10.
    small = {"short": 400, "long": 500, "box": 5, "scale": GPU}
    assert values(10, {"backbone.name": "resnet34"}, **small)["rpn.anchor_sizes"] == [5, 7.1, 10, 14, 20]
    assert "rpn.anchor_sizes" not in values(10, {"rpn.anchor_sizes": [9]}, **small)
    assert values(10, **small)["rpn.anchor_sizes"] == [1.0]  # the published detector's


def test_sizes_span_the_middle_of_the_boxes():
    # From 10 to 160, a factor of 2 each; the outliers are left out.
    assert spanning_sizes([1, *[10] * 20, *[160] * 20, 900], 5) == [10, 20, 40, 80, 160]


def test_weights_of_ones_own_are_not_replaced(asked: list[str]):
    assert "backbone.weights" not in values(400, {"backbone.weights": "a.safetensors"})
    scratch = values(400, {"backbone.weights": None})
    assert (scratch["backbone.norm"], scratch["backbone.frozen_stages"]) == ("batch", 0)
    assert asked == []
    assert values(400, {"backbone.name": "resnet34"})["backbone.weights"] == asked[0]
    assert asked == ["torchvision/resnet34.IMAGENET1K_V1"]


@pytest.mark.usefixtures("offline")
def test_without_published_weights_it_trains_from_scratch_and_says_so(caplog: pytest.LogCaptureFixture):
    chosen = values(400, scale=CPU)
    assert (chosen["backbone.weights"], chosen["backbone.norm"]) == (None, "batch")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "\n" not in record.getMessage()
    assert "from scratch" in record.getMessage() and "put the file there" in record.getMessage()


PROCESS = """
import json, sys
import torch
from foundation.errors import WeightsError
from training.devices import process_group, rank
from detection.recipes import recipe

def find(weights):
    if rank() == int(sys.argv[1]):
        raise WeightsError("no network")

with process_group(torch.device("cpu")):
    print(json.dumps(recipe._is_there(find, "published", "from scratch")))
"""


def test_weights_that_one_process_cannot_have_are_taken_by_none(in_processes: Callable):
    assert in_processes(PROCESS, 1) == [False, False]
    assert in_processes(PROCESS, 2) == [True, True]


@pytest.mark.usefixtures("offline")
def test_a_gpu_without_a_published_detector_tries_the_backbone(caplog: pytest.LogCaptureFixture):
    chosen = values(400)
    assert "model.weights" not in chosen and chosen["backbone.weights"] is None
    detector, backbone = (record.getMessage() for record in caplog.records)
    assert "starting from the backbone alone: torchvision/fasterrcnn_resnet50_fpn.COCO_V1" in detector
    assert "torchvision/resnet50.IMAGENET1K_V1" in backbone


def test_a_detector_of_ones_own_gives_its_architecture(asked: list[str]):
    chosen = values(400, {"model.weights": "a.safetensors"}, scale=CPU)
    assert (chosen["model.weights"], chosen["rpn.channels"]) == ("a.safetensors", 99)
    assert asked == [] and "backbone.weights" not in chosen and "backbone.norm" not in chosen


def test_who_gets_a_recipe():
    assert is_own_set(["data.root=a"]) and is_own_set(["data.kind=voc", "data.root=a"])
    assert not is_own_set(["optim.lr=1"]) and not is_own_set(["data.kind=shapes", "data.root=a"])


def test_the_configuration_of_a_set(write_coco: CocoWriter, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = write_coco()
    own = [f"data.root={tmp_path}", f"data.train={file.name}", f"data.val={file.name}", "run.device=cpu"]
    caplog.set_level("INFO")
    config, out = own_set_config(
        [*own, "optim.lr=0.5", "schedule.total_steps=7"], None, resume=False, opened=SplitOpener()
    )
    assert out == Path("runs", tmp_path.name)
    assert (config.data.kind, config.optim.lr, config.backbone.name) == ("coco", 0.5, "resnet18")
    assert (config.schedule.total_steps, config.schedule.epochs) == (7, None)
    assert "looks like data.kind=coco" in caplog.text
    assert "recipe: 3 pictures of 6x4 (median), 3 objects of 2 classes, with masks" in caplog.text
    with pytest.raises(UserError, match="optim.lrr: unknown key; did you mean 'optim.lr'"):
        own_set_config([*own, "optim.lrr=0.5"], None, resume=False, opened=SplitOpener())


@pytest.mark.parametrize(("year", "metric"), [("2007", "voc07"), ("2012", "voc12")])
def test_the_year_of_a_devkit_decides_the_metric(write_voc: VocWriter, year: str, metric: str):
    write_voc({"b": []}, year=year, split="val")
    root = write_voc({"a": [("dog", (1, 1, 100, 100), 0)]}, year=year)
    own = ["data.kind=voc", f"data.root={root}", "run.device=cpu", "backbone.weights=null"]
    config, _ = own_set_config(own, None, resume=False, opened=SplitOpener())
    assert (config.data.train, config.metric) == (f"{year}:train", metric)


def test_a_run_that_goes_on_keeps_its_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "config.yaml").write_text("optim: {lr: 0.25}\nschedule: {total_steps: 9}\n")
    monkeypatch.setattr(module, "survey_set", lambda data: pytest.fail("opened the set"))
    again: Callable = own_set_config
    config, _ = again(["data.root=a", "schedule.total_steps=12"], tmp_path, resume=True, opened=SplitOpener())
    assert (config.optim.lr, config.schedule.total_steps) == (0.25, 12)
