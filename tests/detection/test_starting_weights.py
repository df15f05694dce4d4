"""Trainings that start from a detector."""

import logging
from pathlib import Path

import pytest
import torch

from backbones import InputSpec, save_weights
from backbones.norm import norm_eps
from detection.build import build_detector, detector_header, load_detector, network_facts
from detection.config import DetectionConfig
from detection.model.detector import FasterRCNN
from detection.starting_weights import architecture, starting_detector
from foundation.errors import UserError, WeightsError
from training.config import load_config

HEADS = ("roi_heads.classifier", "roi_heads.regressor", "roi_heads.mask_head")


def configured(tiny_options: list[str], weights: object, *options: str) -> DetectionConfig:
    return load_config(DetectionConfig, None, [*tiny_options, f"model.weights={weights}", *options])


def of_head(model: FasterRCNN, name: str) -> torch.Tensor:
    return model.state_dict()[f"roi_heads.{name}"]


def save(
    tiny_options: list[str], path: Path, *options: str, classes: tuple[str, ...] = ("person", "dog")
) -> Path:
    """A detector with other options than `detector_weights`."""
    scratch = ["backbone.norm=batch", "backbone.frozen_stages=0"]
    config = load_config(DetectionConfig, None, [*tiny_options, *scratch, *options])
    model = build_detector(config, len(classes))
    ids = list(range(1, len(classes) + 1))
    save_weights(path, model.state_dict(), detector_header(model, config, classes, {}, category_ids=ids))
    return path


def test_all_but_the_predictors_of_other_classes_is_kept(
    tiny_options: list[str], detector_weights: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    source = load_detector(detector_weights).model
    model = starting_detector(configured(tiny_options, detector_weights), ["cat", "horse", "cow"])
    before, after = source.state_dict(), model.state_dict()
    kept = [name for name in after if not name.startswith(HEADS)]
    assert len(kept) > 50 and all(torch.equal(after[name], before[name]) for name in kept)
    assert (
        of_head(model, "classifier.weight").shape[0] == 4 and of_head(model, "regressor.bias").shape[0] == 12
    )
    # No class is known: even the background is made anew.
    assert not torch.isin(of_head(model, "classifier.weight")[0], of_head(source, "classifier.weight")).any()
    # Pictures and epsilon come with the file; the norm is frozen by default.
    assert isinstance(model.trunk.input_spec, InputSpec) and model.trunk.input_spec.order == "BGR"
    assert norm_eps(model) == 1e-3 and "layer1.0.bn1.num_batches_tracked" not in model.trunk.state_dict()
    assert "kept: trunk (" in caplog.text and "roi_heads.region_features (" in caplog.text
    assert "made anew for cat, horse, cow; kept for none" in caplog.text


def test_predictors_of_known_classes_are_kept_by_name(
    tiny_options: list[str], detector_weights: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    source = load_detector(detector_weights).model  # of person and dog
    model = starting_detector(configured(tiny_options, detector_weights), ["cat", "dog", "person"])
    weight, before = of_head(model, "classifier.weight"), of_head(source, "classifier.weight")
    assert torch.equal(weight[[0, 2, 3]], before[[0, 2, 1]]) and weight[1].abs().max() < 0.1
    weight, before = of_head(model, "regressor.weight"), of_head(source, "regressor.weight")
    assert torch.equal(weight[4:8], before[4:]) and torch.equal(weight[8:], before[:4])
    assert "made anew for cat; kept for dog, person" in caplog.text


def test_the_same_classes_keep_everything(
    tiny_options: list[str], detector_weights: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    before = load_detector(detector_weights).model.state_dict()
    after = starting_detector(configured(tiny_options, detector_weights), ["person", "dog"]).state_dict()
    assert all(torch.equal(after[name], before[name]) for name in after)
    assert "kept, since all 2 classes are the file's" in caplog.text


def test_mapped_classes_answer_as_the_files(
    tiny_options: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    theirs, masks = ("airplane", "cat", "couch", "person"), ["detector.mask=true", "roi.size=4"]
    file = save(tiny_options, tmp_path / "a.safetensors", *masks, classes=theirs)
    source = load_detector(file).model
    given = "model.category_map={sofa: couch, person: person, aeroplane: airplane}"
    options = [*masks, "backbone.norm=frozen", given]
    model = starting_detector(configured(tiny_options, file, *options), ["person", "aeroplane", "sofa"])
    columns = torch.tensor([0, 4, 1, 3])  # of the file: the background, person, airplane, couch
    with torch.no_grad():
        for name in ("classifier", "regressor", "mask_head.classifier"):
            before, after = (m.roi_heads.get_submodule(name) for m in (source, model))
            shape = before.weight.shape  # type: ignore[union-attr]
            seen = torch.randn(5, shape[1], *(6 for _ in shape[2:]))
            wanted, found = before(seen), after(seen)
            if name == "regressor":
                wanted = wanted.unflatten(1, (4, 4))[:, columns[1:] - 1].flatten(1)
            else:
                wanted = wanted[:, columns if name == "classifier" else columns[1:] - 1]
            assert wanted.shape == found.shape and torch.allclose(wanted, found, atol=1e-5), name
    said = "all 3 classes are the file's; by model.category_map aeroplane from airplane, sofa from couch"
    assert said in caplog.text


def test_every_stage_of_a_cascade_keeps_known_classes(tiny_options: list[str], tmp_path: Path):
    options = ["roi.stages=3", "detector.class_agnostic=true", "detector.context=true"]
    file = save(tiny_options, tmp_path / "a.safetensors", *options)
    source = load_detector(file).model.state_dict()
    given = configured(tiny_options, file, *options, "model.category_map={hound: dog, man: person}")
    for config, classes in (
        (given, ["hound", "man"]),
        (configured(tiny_options, file, *options), ["dog", "cat"]),
    ):
        state = starting_detector(config, classes).state_dict()
        for stage in ("", "later_stages.0.", "later_stages.1."):
            name = f"roi_heads.{stage}classifier.weight"
            assert torch.equal(state[name][:2], source[name][[0, 2]]), name
            assert torch.equal(state[name][2], source[name][1]) == ("man" in classes), name
            name = f"roi_heads.{stage}regressor.weight"
            assert torch.equal(state[name], source[name]), name


def test_a_map_that_does_not_fit_is_refused(tiny_options: list[str], detector_weights: Path):
    config = configured(tiny_options, detector_weights, "model.category_map={man: persn}")
    with pytest.raises(UserError, match=r"no class of .*; did you mean 'person'\?"):
        starting_detector(config, ["man"])


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("agnostic", [False, True])
def test_masks_and_boxes_of_any_class(
    before: bool, agnostic: bool, tiny_options: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    options = [f"detector.class_agnostic={str(agnostic).lower()}", "roi.size=4"]
    file = save(tiny_options, tmp_path / "a.safetensors", *options, f"detector.mask={str(before).lower()}")
    source = load_detector(file).model
    model = starting_detector(configured(tiny_options, file, *options, "detector.mask=true"), ["dog", "cow"])
    assert of_head(model, "regressor.bias").shape[0] == (4 if agnostic else 8)
    rows = slice(0, 4) if agnostic else slice(4, 8)
    assert torch.equal(of_head(model, "regressor.weight")[:4], of_head(source, "regressor.weight")[rows])
    if before:
        name = "mask_head.classifier.weight"
        assert torch.equal(of_head(model, name)[0], of_head(source, name)[1])
        back = starting_detector(configured(tiny_options, file, *options), ["dog"])
        assert (
            back.roi_heads.mask_head is None
            and "left out, which the configuration lacks: roi_h" in caplog.text
        )
    else:
        assert "made anew, which the file lacks: roi_heads.mask_head (" in caplog.text


def test_another_detector_is_refused_with_the_values_to_give(tiny_options: list[str], detector_weights: Path):
    wrong = ["rpn.channels=8", "rpn.anchor_sizes=[8, 16]", "backbone.name=resnet34", "roi.aligned=false"]
    with pytest.raises(UserError) as refused:
        starting_detector(configured(tiny_options, detector_weights, *wrong), ["cat"])
    text = str(refused.value)
    assert "rpn.channels: 16 of the file, 8 configured" in text and "backbone.stem_pool" not in text
    assert text.endswith(
        "give 'backbone.name=\"resnet18\"' 'rpn.channels=16' 'rpn.anchor_sizes=[16.0, 32.0]' "
        "'roi.aligned=true'"
    )
    # As they are written they are overrides that mend it.
    given = text.rpartition("give ")[2].strip("'").split("' '")
    starting_detector(configured(tiny_options, detector_weights, *wrong, *given), ["cat"])


@pytest.mark.parametrize("kind", ["c4", "fpn"])
def test_the_architecture_of_a_file_makes_any_configuration_fit(
    kind: str, tiny_options: list[str], tmp_path: Path
):
    anchors = ["rpn.anchor_sizes=[8, 16, 32, 64, 128]"] if kind == "fpn" else []
    options = [f"detector.kind={kind}", "detector.mask=true", "mask.channels=8", "roi.size=4", *anchors]
    options += ["detector.pyramid_channels=16", "roi.channels=32"] if kind == "fpn" else []
    file = save(tiny_options, tmp_path / "a.safetensors", *options)
    overrides = [*architecture(file), "detector.mask=true", f"model.weights={file}"]
    config = load_config(DetectionConfig, None, overrides)
    assert starting_detector(config, ["cat"]).roi_heads.mask_head is not None
    assert config.backbone.name == "resnet18" and config.mask.channels == 8


def test_a_checkpoint_needs_no_file(tiny_options: list[str], detector_weights: Path, tmp_path: Path):
    model = starting_detector(configured(tiny_options, detector_weights), ["cat"])
    gone = configured(tiny_options, tmp_path / "gone.safetensors", "model.category_map={cat: dog}")
    again = starting_detector(gone, ["cat"], network_facts(model))
    assert network_facts(again) == network_facts(model)
    with pytest.raises(WeightsError, match=r"no weights at .*gone\.safetensors"):
        starting_detector(gone, ["cat"])


def test_what_is_no_detector_or_a_contradiction_is_refused(
    tiny_options: list[str], classifier_weights: Path, detector_weights: Path, tmp_path: Path
):
    with pytest.raises(UserError, match="expected a detector's weights .*, found those of a resnet18"):
        starting_detector(configured(tiny_options, classifier_weights), ["cat"])
    with pytest.raises(UserError, match=r"backbone\.weights=r18.* exclude each other; give one of them"):
        configured(tiny_options, detector_weights, "backbone.weights=r18.safetensors")
    with pytest.raises(UserError, match="model.weights goes with training=joint, got training=four_step"):
        configured(tiny_options, detector_weights, "training=four_step")
    apart = save(tiny_options, tmp_path / "apart.safetensors", "training=two_stage")
    with pytest.raises(UserError, match="was trained with training=two_stage and has two trunks"):
        starting_detector(configured(tiny_options, apart), ["cat"])
