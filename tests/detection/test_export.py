"""Exported detectors find what the detector finds, in batches and sizes they were not traced with."""

import importlib.util
import inspect
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbones import OptionError
from backbones.export import example_pictures, read_metadata
from backbones.spec import IMAGENET_INPUT, FeatureSpec
from detection.build import LoadedDetector
from detection.config import DetectionConfig, DetectorConfig
from detection.export import SHAPES, TRACED, ExportedDetector, check_export, export
from detection.heads.mask_head import MaskConfig
from detection.heads.roi_options import RoiConfig
from detection.improve.inference_options import InferenceConfig
from detection.model.detector_kinds import KINDS
from detection.model.rpn import RpnConfig
from detection.types import Batch
from foundation.errors import ExportError, UserError

HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
onnx_only = pytest.mark.skipif(not HAS_ONNX, reason="needs the extra onnx")
CHANNELS = {"res2": 8, "res3": 8, "res4": 12, "res5": 12}


class TinyTrunk(nn.Module):
    """A convolution a stage, with the contract of FeatureNetwork."""

    def __init__(self, *features: str) -> None:
        super().__init__()
        stages = list(CHANNELS)[: list(CHANNELS).index(features[-1]) + 1]
        self.feature_specs = {
            name: FeatureSpec(CHANNELS[name], 4 * 2**level)
            for level, name in enumerate(stages)
            if name in features
        }
        self.input_spec, self.name = IMAGENET_INPUT, "tiny"
        widths = [3, *(CHANNELS[name] for name in stages)]
        for level, name in enumerate(stages):
            size = 2 if level else 4
            self.add_module(name, nn.Conv2d(widths[level], widths[level + 1], size, stride=size))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = {}
        for name, stage in self.named_children():
            images = stage(images).relu()
            features[name] = images
        return {name: features[name] for name in self.feature_specs}


class TinyHead(nn.Module):
    """A convolution of stride 2, with the contract of StageHead."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels, self.name = 12, "tiny"
        self.conv = nn.Conv2d(12, 16, 3, stride=2, padding=1)
        self.feature_specs = {"res5": FeatureSpec(16, 2)}

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


def make(
    kind: str, *, mask: bool = True, context: bool = False, stages: int = 1, refine: int = 0
) -> LoadedDetector:
    """A detector of three classes whose random weights are scaled until it finds various things."""
    torch.manual_seed(0)
    sizes = (16.0, 32.0, 64.0, 128.0, 256.0) if kind == "fpn" else (16.0, 32.0)
    config = DetectionConfig(
        detector=DetectorConfig(
            kind, mask=mask, context=context, class_agnostic=stages > 1, pyramid_channels=8
        ),
        rpn=RpnConfig(channels=16, pre_nms_test=100, post_nms_test=30, anchor_sizes=sizes),
        roi=RoiConfig(size=4, stages=stages, channels=24, score_threshold=0.1, detections_per_image=20),
        mask=MaskConfig(size=4, channels=8, convolutions=1),
        testing=InferenceConfig(refine=refine),
    )
    if kind == "c4":
        networks: tuple = (TinyTrunk("res4"), TinyHead())
    else:
        networks = (TinyTrunk(*(CHANNELS if kind == "fpn" else ["res4"])),)
    model = KINDS[kind].build(*networks, 3, config.detector_options)
    with torch.no_grad():  # at their usual scale all scores are alike, and all boxes are anchors
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.in_channels <= 12:
                module.weight.mul_(2)
                module.bias.zero_()
        model.rpn.head.objectness.weight.mul_(40)
        model.rpn.head.deltas.weight.mul_(20)
        for reader, _ in model.roi_heads.stages:
            reader.classifier.weight.mul_(100)
            reader.regressor.weight.mul_(300)
    return LoadedDetector(model.eval(), DetectionConfig(), ["a", "b", "c"], [1, 5, 18])


@onnx_only
@pytest.mark.skipif(os.environ.get("RUN_SLOW") != "1", reason="takes minutes; RUN_SLOW=1 runs it")
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("c4", {}), ("fpn", {}), ("dc5", {}), ("fpn", {"refine": 1, "context": True}), ("fpn", {"stages": 3})],
    ids=str,
)
def test_equal_to_the_detector(kind: str, options: dict, suffix: str, tmp_path: Path):
    loaded, file = make(kind, **options), tmp_path / f"detector{suffix}"
    export(loaded, file, fold=kind == "c4")
    assert check_export(loaded.model, file) < 1e-4
    module = ExportedDetector(loaded.model)
    assert read_metadata(file)["outputs"] == module.outputs
    with torch.no_grad():
        found = [module(example_pictures("uint8", shape)) for shape in SHAPES]
    assert all(values["valid"].sum() > 3 for values in found)  # equal is more than equally empty


@onnx_only
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_equal_to_a_detector_that_looks_more_than_once(suffix: str, tmp_path: Path):
    loaded = make("c4", mask=False, refine=1, context=True, stages=2)
    assert loaded.model.roi_heads.testing.votes
    export(loaded, tmp_path / f"detector{suffix}")
    assert check_export(loaded.model, tmp_path / f"detector{suffix}") < 1e-4
    with torch.no_grad():
        assert ExportedDetector(loaded.model)(example_pictures("uint8", SHAPES[0]))["valid"].sum() > 3


@onnx_only
def test_nothing_found_beside_something_and_no_torch(tmp_path: Path):
    import onnxruntime

    loaded, file = make("c4", mask=False), tmp_path / "net.onnx"
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 50, 70)).astype(np.float32)
    pictures[0] = 128
    module = ExportedDetector(loaded.model, pixels="float32")
    with torch.no_grad():
        least, most = sorted(module(torch.from_numpy(pictures))["scores"].amax(dim=1).tolist())
    assert 0.1 < least < most - 0.01
    heads = loaded.model.roi_heads
    heads.options = replace(heads.options, score_threshold=(least + most) / 2)
    export(loaded, file, pixels="float32")
    session = onnxruntime.InferenceSession(file)
    (images,) = session.get_inputs()
    assert (images.type, images.shape) == ("tensor(float)", ["batch", 3, "height", "width"])
    for batch in (pictures, pictures[:1], pictures[1:]):
        boxes, scores, labels, valid = session.run(None, {"images": batch})
        assert boxes.shape == (len(batch), 20, 4) and scores.shape == labels.shape == valid.shape
        assert valid.any(axis=1).tolist() == [bool(np.ptp(picture)) for picture in batch]

    assert check_export(loaded.model, file) < 1e-4
    metadata = read_metadata(file)
    assert metadata["classes"] == ["a", "b", "c"] and metadata["category_ids"] == [1, 5, 18]
    with torch.no_grad():  # other weights are found out
        loaded.model.roi_heads.regressor.bias.add_(0.5)
    with pytest.raises(ExportError, match="boxes of .* differ by .* was it made of this detector"):
        check_export(loaded.model, file)


def test_the_check_uses_other_batches_and_sizes_than_tracing():
    assert TRACED[0] not in {shape[0] for shape in SHAPES}
    assert any(side % 32 and side not in TRACED for shape in SHAPES for side in shape[2:])


def test_the_detector_itself_gets_the_pictures(monkeypatch: pytest.MonkeyPatch):
    model = make("c4").model
    module = ExportedDetector(model)
    images = example_pictures("uint8", (2, 3, 75, 91))
    padded = torch.zeros(2, 3, 96, 96, dtype=torch.uint8)
    padded[:, :, :75, :91] = images
    sizes, nothing = torch.tensor([[75, 91], [75, 91]]), torch.zeros(2)
    with torch.no_grad():
        expected = model(Batch(padded, sizes, nothing, nothing, nothing, nothing, nothing, ids=[]))
        found = module(images)
    assert all(torch.equal(values, getattr(expected, name)) for name, values in found.items())


def test_what_cannot_be_exported(tmp_path: Path):
    loaded = make("c4")
    with pytest.raises(OptionError, match="unknown suffix of an exported file '.onx'; did you mean '.onnx'"):
        export(loaded, tmp_path / "net.onx")
    with pytest.raises(OptionError, match="unknown kind of pixels 'normalised'"):
        export(loaded, tmp_path / "net.pt2", pixels="normalised")
    several = loaded._replace(model=make("c4").model)
    several.model.roi_heads.testing = InferenceConfig(scales=(200, 400))
    with pytest.raises(UserError, match=r"testing.scales=\[200, 400\] .* give testing.scales=\[\]"):
        export(several, tmp_path / "net.pt2")
    (tmp_path / "net.pt2").touch()
    with pytest.raises(OptionError, match=r"net\.pt2 exists; choose another name, or .* --overwrite"):
        export(loaded, tmp_path / "net.pt2")


def test_the_command_line(
    tmp_path: Path, root: Path, detector_weights: Path, classifier_weights: Path, capsys, monkeypatch
):
    spec = importlib.util.spec_from_file_location("tool_export", root / "tools" / "export.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written: list[tuple] = []
    monkeypatch.setattr("detection.export.export", lambda *args, **options: written.append((*args, options)))
    monkeypatch.setattr("detection.export.check_export", lambda model, path: 0.0)
    command = ["export", str(detector_weights), str(tmp_path / "net.onnx")]
    monkeypatch.setattr("sys.argv", [*command, "--fold", "testing.refine=1"])
    module.run(module.main, module.parser())
    ((loaded, path, options),) = written
    assert loaded.model.roi_heads.testing.refine == 1
    assert loaded.classes == ["person", "dog"] and path == tmp_path / "net.onnx"
    assert options == {"fold": True, "overwrite": False}
    assert inspect.signature(export).parameters["pixels"].default == "uint8"
    assert "net.onnx: largest difference" in capsys.readouterr().out
    of_classifier = ["export", str(classifier_weights), str(tmp_path / "net.pt2")]
    for wrong, message in (
        ([*command, "--features", "res4"], "a detector's file gives detections"),
        (
            [*of_classifier, "testing.refine=1"],
            "testing.refine=1: keys are for weights of a detector or segmentation",
        ),
    ):
        monkeypatch.setattr("sys.argv", wrong)
        with pytest.raises(SystemExit) as left:
            module.run(module.main, module.parser())
        assert left.value.code == 2 and message in capsys.readouterr().err
