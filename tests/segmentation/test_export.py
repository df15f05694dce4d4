"""Exported networks for segmentation give its labels, in batches and sizes unlike the traced one."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones import OptionError
from backbones.export import example_pictures, read_metadata
from foundation.errors import ExportError, UserError
from segmentation.build import TrainedSegmenter, load_trained
from segmentation.config import SegmentationConfig
from segmentation.export import ExportedSegmenter, check_export, export
from segmentation.model.segmenters_by_name import create_model
from training.config import load_config

HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
SMALL = ((1, 3, 33, 47), (3, 3, 40, 24))
onnx_only = pytest.mark.skipif(not HAS_ONNX, reason="needs the extra onnx")


@pytest.fixture
def trained(segmenter_weights: Path) -> TrainedSegmenter:
    return load_trained(segmenter_weights)


@onnx_only
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_equal_to_the_network(trained: TrainedSegmenter, suffix: str, tmp_path: Path):
    labels, logits = tmp_path / f"labels{suffix}", tmp_path / f"logits{suffix}"
    export(trained, labels, fold=True)
    assert check_export(trained.network, labels, shapes=SMALL) < 1e-4
    export(trained, logits, pixels="normalised", output="logits")
    assert check_export(trained.network, logits, shapes=SMALL) < 1e-4
    metadata = read_metadata(labels)
    assert (metadata["outputs"], metadata["pixels"], metadata["short_side"]) == (["labels"], "uint8", None)
    assert metadata["classes"] == ["ground", "cat", "dog"] and read_metadata(logits)["outputs"] == ["logits"]
    with torch.no_grad():  # other weights are found out
        trained.network.classifier[-1].bias.add_(torch.tensor([0.0, 5.0, -5.0]))
    for file in (labels, logits):
        with pytest.raises(ExportError, match="logits.* differ by .* was it made of this network"):
            check_export(trained.network, file, shapes=SMALL)


@onnx_only
def test_labels_without_torch(trained: TrainedSegmenter, tmp_path: Path):
    import onnxruntime

    export(trained, tmp_path / "net.onnx", pixels="float32")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (images,), (output,) = session.get_inputs(), session.get_outputs()
    assert (images.type, images.shape) == ("tensor(float)", ["batch", 3, "height", "width"])
    assert (output.name, output.type) == ("labels", "tensor(uint8)")
    pictures = np.random.default_rng(0).integers(0, 256, (1, 3, 33, 47)).astype(np.float32)
    (found,) = session.run(None, {"images": pictures})
    assert found.shape == (1, 33, 47) and len(np.unique(found)) == 3


@onnx_only
@pytest.mark.skipif(os.environ.get("RUN_SLOW") != "1", reason="takes a minute; RUN_SLOW=1 runs it")
@pytest.mark.parametrize("kind", ["deeplabv3", "deeplabv3plus", "pspnet", "fcn8s"])
def test_every_kind_has_files_of_any_size(kind: str, tmp_path: Path):
    network = create_model(f"{kind}_resnet18", num_classes=3).eval()
    export(TrainedSegmenter(network, SegmentationConfig(), list("abc")), tmp_path / "net.onnx")
    assert check_export(network, tmp_path / "net.onnx", shapes=[(1, 3, 75, 91)]) < 1e-4


def test_the_auxiliary_head_is_left_out(trained: TrainedSegmenter):
    module = ExportedSegmenter(trained.network, output="logits")
    assert not any("aux_classifier" in name for name in module.state_dict())
    assert trained.network.aux_classifier is not None  # of a copy
    images = example_pictures("uint8", (2, 3, 32, 48))
    with torch.no_grad():
        expected = trained.network(trained.network.input_spec.normalise(images))["out"]
        torch.testing.assert_close(module(images), expected, rtol=1e-5, atol=1e-4)
        assert torch.equal(ExportedSegmenter(trained.network)(images), module(images).argmax(1).byte())


def test_a_file_of_other_classes_is_found_out(trained: TrainedSegmenter, tmp_path: Path):
    export(trained, tmp_path / "net.pt2")
    other = create_model("fcn_resnet20_cifar", num_classes=2, output_stride=4).eval()
    with pytest.raises(ExportError, match=r"labels of .* should be \(1, 64, 64\) from 0 to 1, are .* to 2"):
        check_export(other, tmp_path / "net.pt2")


def test_what_cannot_be_exported(trained: TrainedSegmenter, tmp_path: Path):
    with pytest.raises(OptionError, match="unknown suffix of an exported file '.onx'; did you mean '.onnx'"):
        export(trained, tmp_path / "net.onx")
    with pytest.raises(OptionError, match="unknown output 'label'; did you mean 'labels'"):
        export(trained, tmp_path / "net.pt2", output="label")
    for override in ("testing.flip=true", "testing.scales=[0.5]", "testing.window=64"):
        several = trained._replace(config=load_config(SegmentationConfig, None, [override]))
        with pytest.raises(UserError, match=r'a file sees it once: give "testing.scales=\[1\]"'):
            export(several, tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


def test_the_command_line(segmenter_weights: Path, root: Path, tmp_path: Path, capsys, monkeypatch):
    spec = importlib.util.spec_from_file_location("tool_export_of_segmentation", root / "tools" / "export.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    command = ["export", str(segmenter_weights), str(tmp_path / "net.pt2")]
    monkeypatch.setattr("sys.argv", [*command, "--logits", "--pixels", "float32", "testing.overlap=0.5"])
    module.run(module.main, module.parser())
    assert "net.pt2: largest difference from the network" in capsys.readouterr().out
    metadata = read_metadata(tmp_path / "net.pt2")
    assert (metadata["outputs"], metadata["pixels"]) == (["logits"], "float32")
    for wrong, message in (
        (["--features", "res4"], "this file gives labels, or --logits"),
        (["--overwrite", "testing.flip=true"], "a file sees it once"),
        ([], "net.pt2 exists; choose another name"),
    ):
        monkeypatch.setattr("sys.argv", [*command, *wrong])
        with pytest.raises(SystemExit) as left:
            module.run(module.main, module.parser())
        assert left.value.code == 2 and message in capsys.readouterr().err
