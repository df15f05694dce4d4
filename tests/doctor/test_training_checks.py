"""The config doctor: schedule in words, anchors against boxes, weights, memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones import IMAGENET_INPUT, WeightsHeader, save_weights
from detection.build import build_detector, detector_header
from detection.config import DetectionConfig
from detection.starting_weights import architecture
from doctor.diagnosis import sets_of
from doctor.survey import Survey, SurveyedObject, SurveyedPicture
from doctor.training_checks import check_config
from training.config import load_config


@pytest.fixture
def check(
    sets: Path, configured: Callable[..., DetectionConfig]
) -> Callable[..., tuple[str, dict[str, str]]]:
    """The lines, and what was found, of a small configuration with changes."""

    def call(*overrides: str, **options: Any) -> tuple[str, dict[str, str]]:
        config = configured(sets, *overrides)
        training, _ = sets_of(config.data)
        report = check_config(config, training, "test", **{"memory": False, **options})
        return "\n".join(report.lines), {finding.check: finding.detail for finding in report.findings}

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
        (["model.weights=none.safetensors"], "wrong_weights", "none.safetensors"),
        (
            ["backbone.weights=torchvision/maskrcnn_resnet50_fpn.COCO_V1"],
            "wrong_weights",
            "start from it with model.weights=torchvision/maskrcnn_resnet50_fpn.COCO_V1",
        ),
        (["backbone.weights=msra/resnet"], "wrong_weights", "did you mean 'msra/resnet50'?"),
        (["rpn.anchor_sizes=[128, 256]"], "poor_anchors", "100% of the boxes stay below"),
        (["data.max_boxes=1"], "too_many_objects", "in 3 pictures"),
        (["data.short_side=150", "data.max_side=400"], "enlarged_pictures", "100%"),
        (["data.short_side=24"], "below_stride", "below 16 pixels"),
        (["detector.kind=fpn"], "does_not_build", "cannot be dealt out to 5 feature maps"),
    ],
)
def test_each_fault_is_found(check: Callable, overrides: list[str], name: str, text: str):
    _, found = check(*overrides)
    assert text in found[name]


def test_a_map_of_classes_is_compared_with_the_file(check: Callable, sets: Path, tmp_path: Path):
    tiny = ["backbone.name=resnet18", "backbone.norm=batch", "backbone.frozen_stages=0"]
    config = load_config(DetectionConfig, None, tiny)
    model = build_detector(config, 1)
    file = tmp_path / "a.safetensors"
    header = detector_header(model, config, ["thing"], {}, category_ids=[1])
    save_weights(file, model.state_dict(), header)
    start = [f"model.weights={file}", *architecture(file)]
    assert "wrong_weights" not in check(*start)[1]
    _, found = check(*start, "model.category_map.nothing=thing")
    assert "'nothing' is no class of the data set" in found["wrong_weights"]


@pytest.mark.parametrize(
    ("difficult", "objects"), [("leave_out", "median 1, most 1"), ("train", "median 2, most 2")]
)
def test_difficult_objects_count_where_they_are_trained_on(tmp_path: Path, difficult: str, objects: str):
    overrides = ["backbone.name=resnet18", "backbone.norm=batch", "backbone.frozen_stages=0", "data.kind=voc"]
    config = load_config(DetectionConfig, None, [*overrides, f"data.difficult={difficult}"])
    picture = SurveyedPicture("a", tmp_path / "a.jpg", (48, 64))
    things = [SurveyedObject("a", 0, 0, (5.0, 5.0, 40.0, 40.0), ignore) for ignore in (False, True)]
    survey = Survey("voc", ["cat"], pictures=[picture], objects=things, ignored="difficult")
    report = check_config(config, [survey], "test", memory=False)
    assert f"objects a picture: {objects}" in report.lines


def test_published_weights_are_judged_by_their_name(check: Callable, publisher):
    msra = ["backbone.weights=msra/resnet50", "backbone.name=resnet50", "backbone.norm=frozen"]
    assert "msra/resnet50 has stride_on=1x1, the configuration 3x3" in check(*msra)[1]["other_stride_on"]
    assert check(*msra, "backbone.stride_on=1x1")[1] == {}
    assert not publisher.cache.exists()  # nothing was fetched


def test_weights_of_another_network(check: Callable, tmp_path: Path):
    file = tmp_path / "a.safetensors"
    header = WeightsHeader("resnet50", {"stride_on": "1x1"}, IMAGENET_INPUT)
    save_weights(file, {"conv1.weight": torch.zeros(1)}, header)
    _, found = check(f"backbone.weights={file}", "backbone.name=resnet34")
    assert "is of resnet50, backbone.name is resnet34" in found["wrong_weights"]
    assert "stride_on=1x1, the configuration 3x3" in found["other_stride_on"]
    options = ["backbone.name=resnet50", "backbone.stride_on=1x1", "backbone.norm=frozen"]
    assert check(f"backbone.weights={file}", *options)[1] == {}
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "theirs.pth")
    _, found = check(f"backbone.weights={tmp_path / 'theirs.pth'}", *options)
    assert "has no header, so nothing says" in found["other_stride_on"]
    assert check(f"backbone.weights={tmp_path / 'theirs.pth'}", options[0], options[2])[1] == {}
