"""Data sets and detectors from a configuration, and detectors back from their file alone."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from backbones import WeightsError, read_weights, save_weights
from backbones.norm import FrozenBatchNorm2d, norm_eps
from detection.build import assemble, build_detector, detector_header, load_detector, load_detectors
from detection.config import DetectionConfig
from detection.data.dataset_splits import DataConfig, open_dataset
from detection.data.detection_batches import PreparedPictures, evaluation_batches
from foundation.errors import UserError
from training.config import load_config


def frozen(options: list[str], weights: Path, *overrides: str) -> DetectionConfig:
    return load_config(DetectionConfig, None, [*options, f"backbone.weights={weights}", *overrides])


@pytest.mark.parametrize(
    "overrides", [[], ["backbone.norm=batch"], ["backbone.norm=frozen", "backbone.frozen_stages=0"]]
)
def test_nothing_is_frozen_without_weights(tiny_options: list[str], overrides: list[str]):
    config = load_config(DetectionConfig, None, [*tiny_options, *overrides])
    with pytest.raises(
        UserError, match=r"backbone\.weights is not set.*backbone\.norm=batch backbone\.frozen"
    ):
        build_detector(config, 2)


def test_folded_normalisation_is_not_trained(tiny_options: list[str], classifier_weights: Path):
    state, header = read_weights(classifier_weights)
    assert header is not None
    folded = {
        name: torch.ones_like(tensor) - 1e-5 if name.endswith("running_var") else tensor
        for name, tensor in state.items()
    }
    save_weights(classifier_weights.with_name("folded.safetensors"), folded, header)
    options = [*tiny_options, f"backbone.weights={classifier_weights.with_name('folded.safetensors')}"]
    with pytest.raises(UserError, match=r"not the statistics that backbone\.norm=batch goes on from; set"):
        build_detector(load_config(DetectionConfig, None, [*options, "backbone.norm=batch"]), 2)
    build_detector(load_config(DetectionConfig, None, [*options, "backbone.norm=frozen"]), 2)


def test_the_backbone_starts_from_its_file(tiny_options: list[str], classifier_weights: Path):
    model = build_detector(frozen(tiny_options, classifier_weights), 2)
    state, header = read_weights(classifier_weights)
    assert header is not None
    assert torch.equal(model.trunk.state_dict()["layer3.1.conv2.weight"], state["layer3.1.conv2.weight"])
    head = model.roi_heads.region_features.head.state_dict()
    assert torch.equal(head["layer4.0.bn1.weight"], state["layer4.0.bn1.weight"])
    assert (model.trunk.input_spec, norm_eps(model)) == (header.input_spec, header.norm_eps)
    norms = [module for module in model.modules() if "BatchNorm" in type(module).__name__]
    assert {type(module) for module in norms} == {FrozenBatchNorm2d}
    fixed = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert fixed and all(name.startswith(("trunk.conv1", "trunk.layer1")) for name in fixed)


def test_the_configuration_reaches_the_detector(tiny_options: list[str], classifier_weights: Path):
    options = [
        "rpn.anchors_inside_only=true",
        "rpn.min_size=16",
        "rpn.negative_iou=0.2",
        "rpn.positive_iou=0.6",
    ]
    options += ["roi.negative_floor=0.1", "roi.positive_iou=0.4"]
    config = frozen(
        tiny_options, classifier_weights, "roi.score_threshold=0.2", "rpn.pre_nms_train=70", *options
    )
    model = build_detector(config, 7)
    rpn, roi = model.rpn.options, model.roi_heads.options
    assert rpn.anchors_inside_only and rpn.min_size == 16
    assert (rpn.negative_iou, rpn.positive_iou) == (0.2, 0.6)
    assert (roi.negative_floor, roi.positive_iou) == (0.1, 0.4)
    assert (model.rpn.anchor_sizes, model.rpn.train_limits) == ((16, 32), (70, 2000))
    assert model.rpn.head.conv.out_channels == 16 and model.roi_heads.region_features.size == 2
    assert (roi.score_threshold, model.roi_heads.num_classes) == (0.2, 7)


def test_weights_of_the_other_pooling_are_refused_and_taken_as_what_they_are(
    tiny_options: list[str], classifier_weights: Path
):
    ceil = "backbone.stem_pool=ceil"
    with pytest.raises(WeightsError, match="stem_pool='padded'"):
        build_detector(frozen(tiny_options, classifier_weights, ceil), 2)
    scratch = ["backbone.norm=batch", "backbone.frozen_stages=0", ceil]
    model = build_detector(load_config(DetectionConfig, None, [*tiny_options, *scratch]), 2)
    assert model.trunk.maxpool.ceil_mode and model.trunk.options["stem_pool"] == "ceil"


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_round_trip(
    norm: str, tiny_options: list[str], classifier_weights: Path, coco_root: Path, tmp_path: Path
):
    config = frozen(tiny_options, classifier_weights, f"data.root={coco_root}", f"backbone.norm={norm}")
    model, file = build_detector(config, 2).eval(), tmp_path / "best.safetensors"
    header = detector_header(model, config, ["person", "dog"], {"AP": 0.5}, category_ids=[1, 18])
    save_weights(file, model.state_dict(), header)
    again, loaded, classes, category_ids = load_detector(file)
    assert (loaded, again.training) == (config, False)
    assert (classes, category_ids) == (["person", "dog"], [1, 18])
    assert again.trunk.input_spec == model.trunk.input_spec and norm_eps(again) == norm_eps(model) == 1e-3
    samples = PreparedPictures(
        open_dataset(config.data, "val"), DataConfig(short_side=64, max_side=96, flip=False)
    )
    batch = next(iter(evaluation_batches(samples, [1])))
    with torch.no_grad():
        found, expected = again(batch), model(batch)
    assert found.valid.any()
    for value, wanted in zip(found[:4], expected[:4], strict=True):
        assert torch.equal(value, wanted)


def test_the_header_tells_everything(detector_weights: Path):
    _, header = read_weights(detector_weights)
    assert header is not None
    assert (header.model, header.dataset, header.score) == ("FasterRCNN", "coco train", {"AP": 0.25})
    config = load_detector(detector_weights).config
    assert json.loads(json.dumps(asdict(config))) == header.config
    assert config.backbone.weights is None


def test_loading_needs_neither_the_first_weights_nor_takes_wrong_overrides(
    tiny_options: list[str], classifier_weights: Path, tmp_path: Path
):
    copy, file = tmp_path / "gone.safetensors", tmp_path / "best.safetensors"
    copy.write_bytes(classifier_weights.read_bytes())
    config = frozen(tiny_options, copy)
    model = build_detector(config, 1)
    save_weights(file, model.state_dict(), detector_header(model, config, ["a"], {}, category_ids=[7]))
    copy.unlink()
    loaded = load_detector(file, ["data.val=test", "run.workers=3"]).config
    assert (loaded.data.val, loaded.run.workers, loaded.data.train) == ("test", 3, "train")
    with pytest.raises(UserError, match=r"best\.safetensors:\n  data\.vall: unknown key; did you mean"):
        load_detector(file, ["data.vall=test"])
    with pytest.raises(WeightsError, match=r"best\.safetensors: .* do not fit (.|\n)*only other keys can be"):
        load_detector(file, ["rpn.channels=8"])


def test_other_weights_are_refused(classifier_weights: Path, tmp_path: Path):
    with pytest.raises(UserError, match="expected a detector's weights .*, found those of a resnet18"):
        load_detector(classifier_weights)
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "foreign.pth")
    with pytest.raises(UserError, match=r"foreign\.pth: expected a detector's weights .*, found no header"):
        load_detector(tmp_path / "foreign.pth")


def test_a_detector_is_no_backbone(tiny_options: list[str], detector_weights: Path):
    with pytest.raises(WeightsError, match="is of FasterRCNN, not of resnet18"):
        build_detector(frozen(tiny_options, detector_weights), 2)


def test_an_ensemble_needs_the_same_classes_and_masks(detector_weights: Path, tmp_path: Path):
    model, config, classes, ids = load_detector(detector_weights)
    header = detector_header(model, config, ["dog", "person"], {}, category_ids=ids)
    save_weights(tmp_path / "turned.safetensors", model.state_dict(), header)
    with pytest.raises(
        UserError, match="turned.safetensors knows the classes dog, person; .* need the same, in"
    ):
        load_detectors([detector_weights, tmp_path / "turned.safetensors"])
    masked = replace(config, detector=replace(config.detector, mask=True), roi=replace(config.roi, size=4))
    masks = assemble(masked, 2, weights=None)
    header = detector_header(masks, masked, classes, {}, category_ids=ids)
    save_weights(tmp_path / "masks.safetensors", masks.state_dict(), header)
    with pytest.raises(
        UserError, match="masks.safetensors makes masks and .*best.safetensors does not; in an"
    ):
        load_detectors([tmp_path / "masks.safetensors", detector_weights])
    assert [one.classes for one in load_detectors([detector_weights] * 2)] == [classes] * 2
