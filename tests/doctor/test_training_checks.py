"""The config doctor: schedule in words, anchors against boxes, weights, memory."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from backbones import IMAGENET_INPUT, WeightsHeader, save_weights
from detection.build import build_detector
from detection.config import DetectionConfig
from doctor import step_memory as memory
from doctor.anchor_fit import best_iou, fit_anchors
from doctor.diagnosis import examine, sets_of
from doctor.findings import Finding
from doctor.training_checks import check_config
from training.config import parse_config

SMALL = {
    "backbone": {"name": "resnet18", "norm": "batch", "frozen_stages": 0},
    "data": {"short_side": 96, "max_side": 128},
    "rpn": {"anchor_sizes": [24, 32], "channels": 16},
    "roi": {"size": 2, "regions_per_image": 4},
    "optim": {"batch_size": 2, "reference_batch": 2},
    "schedule": {"total_steps": 30},
}


def configured(folder: Path, *overrides: str) -> DetectionConfig:
    return parse_config(DetectionConfig, SMALL, [f"data.root={folder}", *overrides], source="test")


@pytest.fixture
def sets(coco: Path, tmp_path: Path) -> Path:
    """The whole set laid out as a configuration wants it, as training and as validation set."""
    (tmp_path / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        (tmp_path / "annotations" / f"instances_{split}.json").write_bytes(coco.read_bytes())
        (tmp_path / split).symlink_to(tmp_path / "pictures")
    return tmp_path


@pytest.fixture
def check(sets: Path) -> Callable[..., tuple[str, dict[str, str]]]:
    """The lines, and what was found, of a small configuration with changes."""

    def call(*overrides: str, **options: Any) -> tuple[str, dict[str, str]]:
        config = configured(sets, *overrides)
        training, _ = sets_of(config.data)
        lines, findings = check_config(config, training, "test", **{"memory": False, **options})
        return "\n".join(lines), {finding.check: finding.detail for finding in findings}

    return call


def test_a_sound_configuration(check: Callable):
    lines, found = check(memory=True)
    assert found == {}
    for part in (
        "2 pictures a step",
        "30 steps are 20 epochs of 3 pictures",
        "short side 96, 96, 96, 96, 96",
        "median 2, most 2",
        "0% < 0.3",
        "memory of a step of 2 pictures of 128x96",
    ):
        assert part in lines, lines


@pytest.mark.parametrize(
    ("overrides", "name", "text"),
    [
        (["schedule.total_steps=1"], "few_epochs", "0.667 epochs of 3 pictures"),
        (["schedule.total_steps=1000"], "many_epochs", "667 epochs"),
        (["schedule.milestones=[20, 30]"], "milestone_after_end", "[30]"),
        (["optim.accumulate=3"], "wrong_batch", "2 cannot be shared by 3"),
        (["backbone.norm=frozen"], "nothing_to_freeze", "without weights"),
        (["backbone.weights=none.safetensors"], "wrong_weights", "none.safetensors"),
        (["rpn.anchor_sizes=[128, 256]"], "poor_anchors", "100% of the boxes stay below"),
        (["data.max_boxes=1"], "too_many_objects", "3 pictures"),
        (["data.short_side=150", "data.max_side=400"], "enlarged_pictures", "100%"),
        (["data.short_side=24"], "below_stride", "below 16 pixels"),
        (["detector.kind=fpn"], "does_not_build", "cannot be dealt out to 5 feature maps"),
    ],
)
def test_each_fault_is_found(check: Callable, overrides: list[str], name: str, text: str):
    _, found = check(*overrides)
    assert text in found[name]


def test_weights_of_another_network(check: Callable, tmp_path: Path):
    file = tmp_path / "a.safetensors"
    header = WeightsHeader("resnet50", {"stride_on": "1x1"}, IMAGENET_INPUT)
    save_weights(file, {"conv1.weight": torch.zeros(1)}, header)
    _, found = check(f"backbone.weights={file}", "backbone.name=resnet34")
    assert "is of resnet50, backbone.name is resnet34" in found["wrong_weights"]
    assert "stride_on=1x1, the configuration 3x3" in found["other_stride_on"]
    options = ["backbone.name=resnet50", "backbone.stride_on=1x1", "backbone.norm=frozen"]
    assert check(f"backbone.weights={file}", *options)[1] == {}


def test_classes_of_train_and_val(sets: Path):
    file = sets / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["categories"][0]["name"] = "cow"
    file.write_text(json.dumps(content))
    _, (validation,) = sets_of(configured(sets).data)
    found: list[Finding] = [f for f in validation.findings if f.check == "different_classes"]
    assert "cat, cow" in found[0].detail


def test_parts_of_a_training_set_are_not_leaks(voc: Path):
    lists = voc / "ImageSets" / "Main"
    (lists / "train.txt").write_text("000001\n")
    overrides = ["data.kind=voc", "data.train=2007:trainval+2007:train", "data.val=2007:train"]
    training, validation = sets_of(configured(voc.parent, *overrides).data)
    found = examine(training).findings
    assert {f.check for f in found} & {"leak", "duplicate_image_id"} == {"duplicate_image_id"}
    assert "leak" in {f.check for f in examine(training + validation).findings}


def test_best_iou_by_hand():
    # 10 x 10 inside 20 x 20: 100 / 400. Ratio 4 makes 5 wide and 20 high: 50 / (100 + 100 - 50).
    boxes = np.array([[10.0, 10.0]])
    assert best_iou(boxes, [20], [1]) == pytest.approx(0.25)
    assert best_iou(boxes, [10], [4]) == pytest.approx(50 / 150)
    assert best_iou(boxes, [10, 20], [4, 1]) == pytest.approx(1)


def test_suggested_anchors_fit_better():
    rng = np.random.default_rng(0)
    boxes = np.exp(rng.normal(3, 0.5, (500, 2)))
    fit = fit_anchors(boxes, [128, 256, 512], [0.5, 1, 2])
    assert len(fit.sizes) == len(fit.ratios) == 3
    assert fit.suggested.mean() > 0.6 > 0.2 > fit.best.mean()
    assert fit.share(0) == 1 and fit.share(0, 0.3) + fit.share(0.3) == pytest.approx(1)


def test_memory_is_what_a_whole_step_keeps():
    """Two large pictures measured, against the line through three tiny ones."""
    config = parse_config(DetectionConfig, SMALL, ["roi.regions_per_image=24"], source="test")
    model = build_detector(config, 3)
    size, pictures = (192, 256), 2
    estimated = memory.estimate(config, model, size, pictures)
    model.roi_heads.options = replace(model.roi_heads.options, regions_per_image=24)
    batch = memory._noise(size, masks=False)
    own = {tensor.data_ptr() for tensor in chain(model.parameters(), model.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    two = replace(
        batch,
        **{k: torch.cat([v, v]) for k, v in vars(batch).items() if isinstance(v, torch.Tensor)},
        ids=["", ""],
    )
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model.train()(two)
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert estimated.activations == pytest.approx(real, rel=0.05)
    trained = sum(parameter.nbytes for parameter in model.parameters())
    assert estimated.training == 2 * trained
    lamb = SimpleNamespace(run=config.run, roi=config.roi, optim=replace(config.optim, kind="adamw"))
    assert memory.estimate(lamb, model, size, 1).training == 3 * trained  # type: ignore[arg-type]
