import copy

import pytest
import torch
from torch import nn

from backbones import OptionError, create_backbone, create_model, create_trunk_and_head
from backbones.lesion import find_blocks, reordered_blocks, same_shapes, without_blocks
from backbones.norm import fold_batchnorm

NAMES = ["plain20_cifar", "resnet20_cifar", "preact_resnet20_cifar", "highway19_cifar", "resnet18", "plain18"]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def silenced(block):
    """A copy of a residual block whose residual is zero."""
    quiet = copy.deepcopy(block)
    nn.init.zeros_(quiet.get_parameter(f"{quiet.silenced_by}.weight"))
    return quiet


def test_blocks_are_named_by_stage_and_place():
    assert find_blocks(create_model("resnet50", num_classes=2))["res3.1"] == ["layer2.1"]
    assert list(find_blocks(create_model("resnet8_cifar"))) == ["res2.0", "res3.0", "res4.0"]
    trunk, head = create_trunk_and_head("resnet18")
    assert list(find_blocks(trunk))[-1] == "res4.1" and list(find_blocks(head)) == ["res5.0", "res5.1"]
    model = nn.ModuleDict({"one": trunk, "other": copy.deepcopy(trunk)})  # as detectors with two trunks
    assert find_blocks(model)["res2.0"] == ["one.layer1.0", "other.layer1.0"]
    compiled = torch.compile(create_model("resnet8_cifar"))  # the network stands in a wrapper
    assert [len(paths) for paths in find_blocks(compiled).values()] == [1, 1, 1]


@pytest.mark.parametrize("name", ["resnet20_cifar", "resnet18", "resnet50", "preact_resnet20_cifar"])
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_without_a_block_is_with_a_silent_residual(name, shortcut, images, randomise_norms):
    # A deleted residual is the same as one whose last layer is zero, whatever the shortcut.
    model = create_model(name, num_classes=3, shortcut=shortcut).eval()
    randomise_norms(model)
    for module in model.modules():
        if getattr(module, "silenced_by", "").startswith("bn"):
            nn.init.zeros_(module.get_submodule(module.silenced_by).bias)
    whole = model(images)
    for block in ("res2.0", "res3.0", "res3.1"):
        (path,) = find_blocks(model)[block]
        expected = copy.deepcopy(model)
        expected.set_submodule(path, silenced(model.get_submodule(path)))
        with without_blocks(model, [block]):
            torch.testing.assert_close(model(images), expected(images))
        assert torch.equal(model(images), whole)


def test_a_plain_block_passes_its_input_by_option_a_where_the_shape_changes(images):
    model = create_model("plain8_cifar").eval()
    features = model.relu(model.bn1(model.conv1(images)))
    with without_blocks(model, ["res2.0", "res3.0"]):
        found = model.layer2(model.layer1(features))
    expected = torch.zeros(2, 32, 16, 16)
    expected[:, :16] = features[:, :, ::2, ::2]
    assert torch.equal(found, expected)


def test_a_highway_layer_passes_its_input():
    model = create_model("highway19_cifar").eval()
    x = torch.randn(1, 32, 8, 8)
    with without_blocks(model, [f"res2.{i}" for i in range(4)]):
        assert torch.equal(model.layer1(x), x)


@pytest.mark.parametrize("name", NAMES)
def test_terms_add_up_to_the_block(name, images, randomise_norms):
    model = create_model(name, num_classes=3).eval()
    randomise_norms(model)
    for (path,) in find_blocks(model).values():
        block = model.get_submodule(path)
        if not hasattr(block, "terms"):
            assert name.startswith("plain")
            continue
        parameter = next(p for p in block.parameters() if p.ndim == 4)
        x = torch.rand(2, parameter.shape[1], 8, 8)
        shortcut, residual = block.terms(x)
        total = shortcut + residual
        torch.testing.assert_close(total.relu() if block.activates_sum else total, block(x))


def test_lesions_nest_and_end_after_errors(images):
    model = create_model("resnet20_cifar").eval()
    whole = model(images)
    names = list(model.state_dict())
    with pytest.raises(RuntimeError, match="inside"), without_blocks(model, ["res2.1"]):
        one = model(images)
        with without_blocks(model, ["res2.1", "res3.2"]):
            both = model(images)
        assert torch.equal(model(images), one) and not torch.equal(one, both)
        raise RuntimeError("inside")
    assert torch.equal(model(images), whole) and list(model.state_dict()) == names


@pytest.mark.parametrize("training", [True, False])
def test_modes_stay_as_they_were(training):
    model = create_model("resnet8_cifar").train(training)
    model.layer1[0].bn1.train(not training)  # as partly frozen networks have it
    before = [module.training for module in model.modules()]
    with without_blocks(model, ["res2.0"]):
        assert model.layer1[0].block.bn1.training is not training
    assert [module.training for module in model.modules()] == before


def test_a_folded_copy_has_the_lesion(images):
    # Evaluation copies and folds the network inside the lesion.
    model = create_model("resnet20_cifar").eval()
    with without_blocks(model, ["res3.1"]):
        expected, folded = model(images), fold_batchnorm(model)
    torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert not torch.allclose(model(images), expected, rtol=1e-2)


def test_order_by_hand(images):
    model = create_model("resnet20_cifar").eval()
    x = torch.rand(1, 16, 8, 8)
    first, second = model.layer1[0], model.layer1[1]
    expected = model.layer1[2](first(second(x)))
    with reordered_blocks(model, {"res2.0": "res2.1", "res2.1": "res2.0"}):
        assert torch.equal(model.layer1(x), expected)
    assert model.layer1[0] is first


def test_blocks_of_equal_shape():
    assert same_shapes(create_model("resnet20_cifar")) == [
        ["res2.0", "res2.1", "res2.2"],
        ["res3.1", "res3.2"],
        ["res4.1", "res4.2"],
    ]
    # Dilation changes no shape of a parameter, and yet the blocks differ.
    dilated = create_model("resnet50", num_classes=2, dilation=("res5",))
    assert ["res5.1", "res5.2"] in same_shapes(dilated)
    assert same_shapes(create_model("resnet8_cifar")) == []


def test_what_cannot_be_deleted_is_refused():
    def enter(model, names):
        with without_blocks(model, names):
            pass

    with pytest.raises(OptionError, match="unknown block 'res9.1'; did you mean 'res"):
        enter(create_model("resnet20_cifar"), ["res9.1"])
    vgg = create_backbone("vgg16", out_features=("conv1",))
    with pytest.raises(OptionError, match="no blocks that could be left out"):
        enter(vgg, ["conv1.0"])
    enter(vgg, [])  # nothing asked for
