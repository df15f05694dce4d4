"""From a weight file to a network: what fits is loaded with all its file says, what does not is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backbones import (
    InputSpec,
    WeightsError,
    WeightsHeader,
    create_backbone,
    create_model,
    create_trunk_and_head,
    read_weights,
    save_weights,
)
from backbones.convert import convert
from backbones.norm import FrozenBatchNorm2d

CAFFE = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
CREATORS = [create_model, create_backbone, create_trunk_and_head]


def write(path: Path, network: nn.Module, **changes) -> Path:
    header = WeightsHeader(network.name, network.options, CAFFE, norm_eps=1e-3)
    save_weights(path, network.state_dict(), replace(header, **changes))
    return path


def refusal(create, name: str, path: Path, **options) -> str:
    with pytest.raises(WeightsError) as caught:
        create(name, weights=path, **options)
    message = str(caught.value)
    assert str(path) in message and caught.value.exit_status == 2
    assert len(message.splitlines()) <= 24
    return message


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory) -> Path:
    """A file of a ResNet-18 for 5 classes."""
    return write(tmp_path_factory.mktemp("w") / "r18.safetensors", create_model("resnet18", num_classes=5))


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_classifier_computes_what_the_saved_one_did(tmp_path, norm):
    torch.manual_seed(0)
    saved = create_model("resnet20_cifar")
    saved(IMAGES)  # moves the statistics
    for module in saved.eval().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    loaded = create_model("resnet20_cifar", weights=write(tmp_path / "x.safetensors", saved), norm=norm)
    assert loaded.input_spec == CAFFE
    norms = [m for m in loaded.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)]
    assert {(type(m), m.eps) for m in norms} == {
        (FrozenBatchNorm2d if norm == "frozen" else nn.BatchNorm2d, 1e-3)
    }
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(IMAGES), saved(IMAGES))


def test_backbone_takes_its_part_whatever_the_classifier(resnet18):
    whole = create_model("resnet18", num_classes=5, weights=resnet18)
    backbone = create_backbone("resnet18", weights=resnet18, frozen_stages=2)
    trunk, head = create_trunk_and_head("resnet18", weights=resnet18)
    for part in (backbone, trunk, head):
        assert part.input_spec == CAFFE
        assert all(torch.equal(value, whole.state_dict()[key]) for key, value in part.state_dict().items())


def test_a_backbones_own_file_is_enough_for_a_backbone_but_not_for_more(tmp_path):
    path = write(tmp_path / "trunk.safetensors", create_backbone("resnet18", out_features=("res4",)))
    create_backbone("resnet18", out_features=("res3",), weights=path)
    # layer4: 5 convolutions and 5 normalisations of 4 tensors, not counting their counters.
    message = refusal(create_backbone, "resnet18", path, out_features=("res5",))
    assert "25 missing in the file:\n    layer4.0.conv1.weight\n" in message
    assert "missing in the file" in refusal(create_model, "resnet18", path)


def test_other_number_of_classes(resnet18):
    message = refusal(create_model, "resnet18", resnet18)
    assert message == f"{resnet18} is for 5 classes, the network for 1000; give num_classes=5"


@pytest.mark.parametrize("create", CREATORS)
@pytest.mark.parametrize("name", ["resnet34", "resnet50", "plain18", "resnet20_cifar"])
def test_header_of_another_network(resnet18, create, name):
    split = {"split": "res3"} if create is create_trunk_and_head and "cifar" in name else {}
    assert refusal(create, name, resnet18, **split) == (
        f"{resnet18} is of resnet18, not of {name}; give a file of {name}, or the name of the file's network"
    )


@pytest.mark.parametrize("create", CREATORS)
@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_tensors_of_another_network_without_header(resnet18, tmp_path, create, name):
    path = tmp_path / "unknown.pth"
    torch.save(read_weights(resnet18)[0], path)
    classes = {"num_classes": 5} if create is create_model else {}
    lines = refusal(create, name, path, **classes).splitlines()
    assert lines[0] == f"{path} → {name}: the weights do not fit the network"
    assert lines[-1] == f"  give a file of {name}, or the name of the network that this file is of"
    assert any("missing in the file:" in line for line in lines)


def test_unused_stages_of_another_network_are_found_too(tmp_path):
    # The stem asked for is equal in both; the stages left out are not.
    path = tmp_path / "unknown.pth"
    torch.save(create_model("resnet34").state_dict(), path)
    assert "not in the network" in refusal(create_backbone, "resnet18", path, out_features=("stem",))


def test_stride_on_changes_no_shape_and_is_found_by_the_header(tmp_path):
    path = write(tmp_path / "caffe.safetensors", create_model("resnet50", stride_on="1x1"))
    for create in CREATORS:
        assert refusal(create, "resnet50", path) == (
            f"{path} was trained with stride_on='1x1', not '3x3'; give stride_on='1x1'"
        )
    create_backbone(name="resnet50", weights=path, stride_on="1x1")


def test_other_shortcut(tmp_path):
    path = write(tmp_path / "b.safetensors", create_model("resnet20_cifar", shortcut="B"))
    message = refusal(create_model, "resnet20_cifar", path)
    assert message.endswith("was trained with shortcut='B', not 'A'; give shortcut='B'")
    create_model("resnet20_cifar", shortcut="B", weights=path)


def test_header_without_options_is_not_believed_to_be_the_default(tmp_path):
    path = write(tmp_path / "x.safetensors", create_model("resnet20_cifar"), options={})
    message = refusal(create_model, "resnet20_cifar", path)
    assert message.endswith("its header does not say shortcut; save it with options=network.options")


@pytest.mark.parametrize("create", CREATORS)
def test_no_file(tmp_path, create):
    assert "no weights at" in refusal(create, "resnet18", tmp_path / "absent.safetensors")


def test_without_a_header_it_is_said_what_is_assumed(tmp_path, caplog):
    path = tmp_path / "theirs.pth"
    torch.save(create_model("resnet50", num_classes=2).state_dict(), path)
    create_backbone("resnet50", weights=path, stride_on="3x3")
    assert str(path) in caplog.text and "stride_on='3x3'" in caplog.text and "order='RGB'" in caplog.text
    caplog.clear()
    create_backbone("resnet18", weights=write(tmp_path / "ours.safetensors", create_model("resnet18")))
    assert caplog.text == ""


@pytest.mark.parametrize("create", CREATORS)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("name", "option", "given", "usual"),
    [
        ("resnet50", "stride_on", "1x1", "3x3"),
        ("preact_resnet29_cifar", "stride_on", "1x1", "3x3"),
        ("resnet18", "stem_pool", "ceil", "padded"),
    ],
)
def test_what_neither_header_nor_shape_says_is_not_assumed(
    tmp_path, create, suffix, name, option, given, usual
):
    path = tmp_path / f"theirs{suffix}"
    state = create_model(name).state_dict()
    (torch.save if suffix == ".pth" else save_file)(state, path)
    message = refusal(create, name, path, **{option: given})
    assert message == (
        f"{path} has no header, so nothing says that it was trained with {option}={given!r}: files with "
        f"torchvision's names are for {usual!r}. Give {option}={usual!r}, or, if you know that it is for "
        f"{given!r}, write that into a header with python tools/convert_weights.py FILE OUT.safetensors "
        f"--from ours --{option.replace('_', '-')} {given}"
    )


@pytest.mark.parametrize(
    ("name", "option", "given"), [("resnet50", "stride_on", "1x1"), ("resnet18", "stem_pool", "ceil")]
)
def test_the_remedy_of_a_file_without_header(tmp_path, name, option, given):
    torch.save(create_model(name).state_dict(), tmp_path / "theirs.pth")
    options = {"source_format": "ours", "source_input": "msra", option: given}
    convert(tmp_path / "theirs.pth", tmp_path / "ours.safetensors", **options)
    network = create_backbone(name, weights=tmp_path / "ours.safetensors", **{option: given})
    assert network.input_spec.order == "BGR"
