"""Exported files compute what their network does, at sizes they were not traced with."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backbones import (
    InputSpec,
    OptionError,
    WeightsError,
    WeightsHeader,
    create_backbone,
    create_model,
    load_network,
    save_weights,
)
from backbones.export import SHAPES, TRACED, Exported, check_export, export, read_metadata
from backbones.norm import calibrate_batchnorm
from foundation.errors import ExportError

CAFFE = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)
HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
onnx_only = pytest.mark.skipif(not HAS_ONNX, reason="needs the extra onnx")
SUFFIXES = [".pt2", pytest.param(".onnx", marks=onnx_only)]


def randomise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.2)
    calibrate_batchnorm(network, [torch.randn(4, 3, 64, 64)])


def classifier() -> nn.Module:
    torch.manual_seed(0)
    network = create_model("resnet20_cifar", num_classes=3)
    randomise(network)
    network.input_spec = CAFFE
    return network


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("pixels", "fold"), [("normalised", False), ("uint8", True)])
def test_classifiers(suffix, pixels, fold, tmp_path):
    network, file = classifier(), tmp_path / f"net{suffix}"
    export(network, file, pixels=pixels, fold=fold, classes=["a", "b", "c"])
    assert check_export(network, file) < 1e-5
    assert network.training and network.conv1.weight.requires_grad  # the network itself is left alone
    assert read_metadata(file) == {
        "model": "resnet20_cifar",
        "options": {"num_classes": 3, "shortcut": "A", "zero_init_residual": False},
        "pixels": pixels,
        "input_spec": {"mean": [103.53, 116.28, 123.675], "std": [1, 1, 1], "order": "BGR", "range": 255},
        "outputs": ["logits"],
        "classes": ["a", "b", "c"],
    }


@pytest.mark.parametrize("unit", ["exclusive_gating", "dropout_shortcut", "bn_after_addition"])
def test_residual_units(unit, tmp_path):
    torch.manual_seed(0)
    network = create_model("resnet8_cifar", num_classes=3, unit=unit)
    randomise(network)
    export(network, tmp_path / "net.pt2", pixels="normalised", fold=True)
    assert check_export(network, tmp_path / "net.pt2") < 1e-5
    assert read_metadata(tmp_path / "net.pt2")["options"]["unit"] == unit


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_feature_networks(suffix, tmp_path):
    torch.manual_seed(0)
    network = create_backbone("preact_resnet18", out_features=("stem", "res3"), norm="frozen")
    calibrate_batchnorm(network, [torch.randn(4, 3, 64, 64)])
    export(network, tmp_path / f"net{suffix}", pixels="float32")
    assert check_export(network, tmp_path / f"net{suffix}") < 1e-5
    assert read_metadata(tmp_path / f"net{suffix}")["outputs"] == ["stem", "res3"]


def test_the_check_uses_other_batches_and_sizes_than_tracing():
    assert TRACED[0] not in {shape[0] for shape in SHAPES}
    assert any(side % 2 and side not in TRACED for shape in SHAPES for side in shape[2:])


def test_normalisation_inside_is_that_of_the_input_specification():
    network = classifier().eval()
    pictures = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    with torch.no_grad():
        expected = network(CAFFE.normalise(pictures))
        for pixels, images in (("uint8", pictures), ("float32", pictures.float())):
            assert torch.equal(Exported(network, pixels=pixels, fold=False)(images), expected)


@onnx_only
def test_an_onnx_file_runs_without_torch(tmp_path):
    import onnxruntime

    network, file = classifier().eval(), tmp_path / "net.onnx"
    export(network, file, pixels="uint8")
    session = onnxruntime.InferenceSession(file)
    (images,) = session.get_inputs()
    assert (images.name, images.type, images.shape) == (
        "images",
        "tensor(uint8)",
        ["batch", 3, "height", "width"],
    )
    assert [output.name for output in session.get_outputs()] == ["logits"]
    pictures = np.random.default_rng(0).integers(0, 256, (5, 3, 37, 20), dtype=np.uint8)
    with torch.no_grad():
        expected = network(CAFFE.normalise(torch.from_numpy(pictures)))
    np.testing.assert_allclose(session.run(None, {"images": pictures})[0], expected, rtol=1e-4, atol=1e-4)


def test_the_programs_outputs_are_the_networks(tmp_path):
    network = create_backbone("resnet20_cifar", out_features=("res2", "res4")).eval()
    export(network, tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2").module()
    assert list(program(torch.randn(1, 3, 20, 24))) == ["res2", "res4"]


def test_a_file_of_other_weights_is_found_out(tmp_path):
    network, file = classifier(), tmp_path / "net.pt2"
    export(network, file)
    with torch.no_grad():
        network.fc.weight[1, 7] += 0.5
    with pytest.raises(ExportError, match=r"net\.pt2: logits of \(1, 3, 64, 64\) pictures differ by .*e-0"):
        check_export(network, file)
    with pytest.raises(ExportError, match=r"logits .* should be \(1, 4\), is \(1, 3\)"):
        check_export(create_model("resnet20_cifar", num_classes=4), file)


def test_what_cannot_be_exported(tmp_path, monkeypatch):
    network = classifier()
    with pytest.raises(OptionError, match=r"unknown suffix of an exported file '.onx'; did you mean '.onnx'"):
        export(network, tmp_path / "net.onx")
    with pytest.raises(OptionError, match="unknown kind of pixels 'int8'; did you mean 'uint8'"):
        export(network, tmp_path / "net.pt2", pixels="int8")
    (tmp_path / "net.pt2").touch()
    with pytest.raises(OptionError, match=r"net\.pt2 exists; choose another name, or .* --overwrite"):
        export(network, tmp_path / "net.pt2")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(OptionError, match=r"ONNX needs more .*pip install 'residual-backbones\[onnx\]'"):
        export(network, tmp_path / "net.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["net.pt2"]


def test_networks_from_their_files(tmp_path):
    network, file = classifier(), tmp_path / "net.safetensors"
    save_weights(file, network.state_dict(), WeightsHeader(network.name, network.options, CAFFE, 1e-3))
    again = load_network(file)
    assert (again.options, again.input_spec, again.bn1.eps) == (network.options, CAFFE, 1e-3)
    assert torch.equal(again.fc.weight, network.fc.weight)
    features = load_network(file, out_features=("res3",), norm="frozen")
    assert list(features.feature_specs) == ["res3"] and not list(features.bn1.parameters())
    torch.save(network.state_dict(), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"net\.pth: expected a header that names .*, found no header"):
        load_network(tmp_path / "net.pth")
    save_weights(file, network.state_dict(), WeightsHeader("FasterRCNN", {}, CAFFE))
    with pytest.raises(WeightsError, match="expected a header that names .*, found that of a FasterRCNN"):
        load_network(file)


def test_the_command_line(tmp_path, capsys, monkeypatch):
    tool = Path(__file__).resolve().parents[2] / "tools" / "export.py"
    spec = importlib.util.spec_from_file_location("tool_export", tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network, file = classifier(), tmp_path / "net.safetensors"
    header = WeightsHeader(network.name, network.options, CAFFE, classes=["a", "b", "c"])
    save_weights(file, network.state_dict(), header)
    monkeypatch.setattr(sys, "argv", ["export", str(file), str(tmp_path / "net.pt2"), "--pixels", "uint8"])
    module.run(module.main, module.parser())
    assert "net.pt2: largest difference from the network" in capsys.readouterr().out
    assert read_metadata(tmp_path / "net.pt2")["classes"] == ["a", "b", "c"]
    with pytest.raises(SystemExit) as left:
        module.run(module.main, module.parser())
    assert left.value.code == 2 and "net.pt2 exists" in capsys.readouterr().err
