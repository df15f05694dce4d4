"""Detectors called from Python."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import detection
from backbones import save_weights
from detection.build import build_detector, detector_header
from detection.config import DetectionConfig
from detection.loaded_detector import Detector
from detection.results.annotated_pictures import predict_pictures
from foundation.errors import UserError, WeightsError
from training.config import load_config


@pytest.fixture(scope="module")
def detector(detector_weights: Path) -> Detector:
    return detection.load(detector_weights, device="cpu")


@pytest.fixture
def pixels() -> np.ndarray:
    """Nearly grey, since the detector's weights are random."""
    return np.random.default_rng(0).integers(120, 136, (40, 60, 3), dtype=np.uint8)


def records_of_tool(picture: Path, weights: Path, out: Path) -> list[dict]:
    """What tools/predict.py lists, without the numbers that it gives."""
    predict_pictures(
        picture, weights, out, threshold=0.5, limit=None, overwrite=False, overrides=["run.device=cpu"]
    )
    entries = json.loads((out / "predictions.json").read_text())["annotations"]
    return [{key: entry[key] for key in entry if key not in ("id", "area", "iscrowd")} for entry in entries]


@pytest.mark.parametrize("mask", [False, True], ids=["boxes", "masks"])
def test_results_are_those_of_the_command_line(
    mask: bool, pixels: np.ndarray, tiny_options: list[str], tmp_path: Path
):
    torch.manual_seed(0)
    options = [
        *tiny_options,
        "backbone.norm=batch",
        "backbone.frozen_stages=0",
        f"detector.mask={mask}".lower(),
    ]
    config = load_config(DetectionConfig, None, [*options, "roi.size=4"])
    model, weights, file = build_detector(config, 2), tmp_path / "best.safetensors", tmp_path / "a.png"
    header = detector_header(model, config, ["person", "dog"], {}, category_ids=[1, 18])
    save_weights(weights, model.state_dict(), header)
    Image.fromarray(pixels).save(file)
    result = detection.load(weights, device="cpu")(file, threshold=0)
    assert len(result) > 0 and (result.masks is not None) == mask
    assert json.loads(json.dumps(result.to_coco(image_id=1))) == records_of_tool(
        file, weights, tmp_path / "out"
    )


def test_a_list_gives_what_its_pictures_give(detector: Detector, pixels: np.ndarray, tmp_path: Path):
    file = tmp_path / "a.png"
    Image.fromarray(pixels).save(file)
    upright = pixels[:, :30]
    alone = [detector(picture, threshold=0.1) for picture in (file, upright)]
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    together = detector([Image.open(file), upright, tensor], threshold=0.1)
    assert isinstance(together, list) and detector([]) == []
    for one, other in zip([*alone, alone[0]], together, strict=True):
        assert len(one) > 0
        for name in ("boxes", "scores", "labels"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_the_threshold_is_the_least_score(detector: Detector, pixels: np.ndarray):
    everything = detector(pixels, threshold=0)
    middle = everything.scores[1].item()
    kept = detector(pixels, threshold=middle)
    assert 0 < len(kept) < len(everything) and kept.scores.min().item() == middle
    assert kept.masks is None and (detector(pixels).scores >= 0.5).all()
    with pytest.raises(UserError, match="threshold must be a probability from 0 to 1, got 50"):
        detector(pixels, threshold=50)


def test_each_class_has_its_threshold(detector: Detector, pixels: np.ndarray, tmp_path: Path):
    everything = detector(pixels, threshold=0)
    people = everything.scores[everything.labels == 1]
    entries = [{"name": "person", "threshold": people[1].item()}, {"name": "dog", "threshold": 1.0}]
    (tmp_path / "operating_point.json").write_text(json.dumps({"classes": entries}))
    kept = detector(pixels, threshold=tmp_path / "operating_point.json")
    assert kept.scores.tolist() == people[:2].tolist() and set(kept.names) == {"person"}
    (tmp_path / "operating_point.json").write_text(json.dumps({"classes": entries[::-1]}))
    with pytest.raises(UserError, match="class 1 is 'dog' there, 'person' in the detector"):
        detector(pixels, threshold=str(tmp_path / "operating_point.json"))


def test_it_is_a_module(detector: Detector, pixels: np.ndarray):
    assert isinstance(detector, nn.Module) and detector.to("cpu") is detector
    expected = detector(pixels, threshold=0)
    again = detector.train()(pixels, threshold=0)  # it detects all the same
    detector.eval()
    assert torch.equal(again.boxes, expected.boxes)
    assert not any(parameter.requires_grad for parameter in detector.parameters())
    assert detector.classes == ["person", "dog"] and detector.category_ids == [1, 18]


def test_half_precision_is_an_option_not_a_cast(detector_weights: Path, pixels: np.ndarray):
    overrides = ["run.precision=bf16", "data.short_side=32"]
    result = detection.load(detector_weights, device="cpu", overrides=overrides)(pixels, threshold=0)
    assert len(result) > 0 and result.boxes.dtype == torch.float32
    with pytest.raises(UserError, match=r"stay float32.*run\.precision=bf16"):
        detection.load(detector_weights, device="cpu").half()(pixels)


def test_several_files_answer_together(detector_weights: Path, pixels: np.ndarray):
    pair = detection.load([detector_weights, detector_weights], device="cpu", overrides=["testing.refine=1"])
    alone = detection.load(detector_weights, device="cpu", overrides=["testing.refine=1"])
    one, two = (each(pixels, threshold=0) for each in (alone, pair))
    assert len(one) > 0 and one.labels.tolist() == two.labels.tolist()
    assert torch.allclose(torch.as_tensor(one.boxes), torch.as_tensor(two.boxes), atol=1e-3)


def test_wrong_inputs_are_refused(
    detector: Detector, detector_weights: Path, classifier_weights: Path, pixels: np.ndarray
):
    with pytest.raises(UserError, match=r"is \(40, 60, 2\) of uint8, expected an array"):
        detector([pixels, pixels[..., :2]])
    with pytest.raises(UserError, match="device cudda cannot be used"):
        detection.load(detector_weights, device="cudda")
    with pytest.raises(UserError, match="expected a detector's weights"):
        detection.load(classifier_weights)
    with pytest.raises(WeightsError, match="no weights at"):
        detection.load("runs/none/best.safetensors")
    with pytest.raises(UserError, match="unknown key"):
        detection.load(detector_weights, overrides=["data.shortside=3"])


def test_only_known_names_are_exported():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        detection.lode  # noqa: B018
