"""Networks by name: what can be asked for, what is refused and how, frozen stages."""

import pytest
import torch
from torch import nn

from backbones import (
    FeatureSpec,
    OptionError,
    create_backbone,
    create_model,
    create_trunk_and_head,
    list_models,
)
from backbones.build import find_feature_specs
from backbones.norm import FrozenBatchNorm2d

DEPTHS_CIFAR = (20, 32, 44, 56, 110, 1202)


def test_list_of_models():
    assert list_models("resnet*") == [
        *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
        *(f"resnet{depth}_cifar" for depth in DEPTHS_CIFAR),
    ]
    assert list_models("plain*") == ["plain18", "plain34", *(f"plain{depth}_cifar" for depth in DEPTHS_CIFAR)]
    assert list_models("preact*") == [
        *(f"preact_resnet{depth}" for depth in (18, 34, 50, 101, 152, 200)),
        *(f"preact_resnet{depth}_cifar" for depth in (110, 164, 1001)),
    ]
    assert list_models("vgg*") + list_models("highway*") == [
        *("vgg16", "vgg19", "highway19_cifar", "highway32_cifar")
    ]
    assert len(list_models()) == len(set(list_models())) == 36
    assert list_models("vit*") == []


@pytest.mark.parametrize("name", list_models())
def test_every_listed_model_builds_and_knows_its_name(name):
    with torch.device("meta"):
        network = create_model(name)
    assert network.name == name
    last = network.get_submodule(network.last_layer)
    assert last.out_features == network.options["num_classes"] == (10 if "cifar" in name else 1000)
    if name.startswith(("vgg", "highway")):
        assert list(network.options) == ["num_classes"]
        return
    padded = "cifar" in name and name not in ("preact_resnet164_cifar", "preact_resnet1001_cifar")
    assert network.options["shortcut"] == (None if "plain" in name else "A" if padded else "B")
    strides = "cifar" not in name or "preact" in name
    assert network.options.get("stride_on") == ("3x3" if strides else None)


@pytest.mark.parametrize("name", ["resnet18", "plain20_cifar"])
def test_number_of_classes(name):
    network = create_model(name, num_classes=7).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, 32, 32)).shape == (2, 7)


def test_options_build_what_they_say():
    network = create_model("resnet50", shortcut="C", stride_on="1x1", zero_init_residual=True)
    assert network.options == {
        "num_classes": 1000,
        "shortcut": "C",
        "stride_on": "1x1",
        "zero_init_residual": True,
    }
    first, second = network.layer2[:2]
    assert first.conv1.stride == (2, 2) and isinstance(second.downsample, nn.Sequential)
    assert not first.bn3.weight.any()
    assert create_model("resnet20_cifar", shortcut=None).options["shortcut"] == "A"  # None: the default


@pytest.mark.parametrize(("norm", "kind"), [("frozen", FrozenBatchNorm2d), ("sync", nn.SyncBatchNorm)])
def test_norm_in_the_whole_classifier(norm, kind):
    network = create_model("resnet20_cifar", norm=norm)
    norms = [module for module in network.modules() if "BatchNorm" in type(module).__name__]
    assert len(norms) == 19 and {type(norm) for norm in norms} == {kind}


def test_norm_sync_leaves_frozen_stages_and_computes_the_same_alone():
    torch.manual_seed(0)
    batch = create_backbone("resnet18", out_features=("res5",), frozen_stages=2)
    sync = create_backbone("resnet18", out_features=("res5",), frozen_stages=2, norm="sync")
    sync.load_state_dict(batch.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(sync(images)["res5"], batch(images)["res5"])  # one process has nobody to ask
    kinds = {name.split(".")[0]: type(module) for name, module in sync.named_modules() if "bn" in name[-3:]}
    assert kinds == {
        "bn1": FrozenBatchNorm2d,
        "layer1": FrozenBatchNorm2d,
        "layer2": nn.SyncBatchNorm,
        "layer3": nn.SyncBatchNorm,
        "layer4": nn.SyncBatchNorm,
    }
    for part in create_trunk_and_head("resnet18", norm="sync"):
        assert any(isinstance(module, nn.SyncBatchNorm) for module in part.modules())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet51", r"^unknown model 'resnet51'; did you mean 'resnet\d+'"),
        ("resnet-101", "^unknown model 'resnet-101'; did you mean 'resnet101'"),
        ("resnet20-cifar", "did you mean 'resnet20_cifar'"),
        ("Plain34", "did you mean 'plain34'"),
        ("plain50", r"^unknown model 'plain50'; did you mean 'plain\d+'"),
        ("inception", "^unknown model 'inception'; choose from plain18, plain34, resnet18, "),
        ("resnet21_cifar", r"^depth must be 6n\+2 \(20, 32, 44, …\), got 21$"),
    ],
)
@pytest.mark.parametrize("create", [create_model, create_backbone, create_trunk_and_head])
def test_unknown_names(create, name, message):
    with pytest.raises(OptionError, match=message) as caught:
        create(name)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("create", "options", "message"),
    [
        (create_model, {"shortcuts": "A"}, "^unknown option 'shortcuts'; did you mean 'shortcut'"),
        (create_model, {"num_class": 5}, "did you mean 'num_classes'"),
        (create_backbone, {"weight": "x.pth"}, "did you mean 'weights'"),
        (create_backbone, {"frozen": 2}, "did you mean 'frozen_stages'"),
        (
            create_backbone,
            {"num_classes": 5},
            "^unknown option 'num_classes'; choose from shortcut, .*weights",
        ),
        (create_trunk_and_head, {"out": "x"}, "^unknown option 'out'; choose from .*split"),
        (create_trunk_and_head, {"out_feature": "x"}, "did you mean 'out_features'"),
        (
            create_trunk_and_head,
            {"out_features": ["res5"]},
            r"^the trunk ends in res4, got out_features=\['res5'\]",
        ),
        (create_model, {"shortcut": "D"}, "^unknown shortcut 'D'; choose from A, B, C$"),
        (create_model, {"stride_on": "1x3"}, r"^unknown stride_on '1x3'; did you mean '\dx\d'"),
        (create_model, {"norm": "forzen"}, "^unknown norm 'forzen'; did you mean 'frozen'"),
        (create_model, {"num_classes": 0}, "^num_classes must be at least 1, got 0$"),
    ],
)
def test_impossible_options(create, options, message):
    with pytest.raises(OptionError, match=message):
        create("resnet50", **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("plain34", {"shortcut": "A"}, "plain34 has no residual shortcuts; leave out shortcut='A'"),
        ("plain20_cifar", {"zero_init_residual": True}, "plain20_cifar has no residual shortcuts"),
        ("resnet20_cifar", {"stem_pool": "ceil"}, "resnet20_cifar has no such pooling in its stem"),
        ("resnet34", {"stride_on": "1x1"}, "resnet34 has no bottlenecks; leave out stride_on"),
        ("resnet56_cifar", {"stride_on": "1x1"}, "resnet56_cifar has no bottlenecks"),
        ("resnet18", {"zero_init_residual": "yes"}, "zero_init_residual must be true or false, got 'yes'"),
    ],
)
def test_options_that_do_not_apply(name, options, message):
    with pytest.raises(OptionError, match=message):
        create_model(name, **options)
    # The defaults, said aloud, always apply.
    create_model(name, shortcut=None, stride_on="3x3", zero_init_residual=False, dilation=())


@pytest.mark.parametrize(("name", "num_stages"), [("resnet50", 2), ("resnet20_cifar", 3), ("plain18", 5)])
def test_frozen_stages_are_fixed_and_the_others_train(name, num_stages):
    torch.manual_seed(0)
    last = "res4" if "cifar" in name else "res5"
    network = create_backbone(name, out_features=(last,), frozen_stages=num_stages).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    stages = list(network.stages.values())
    frozen = tuple(child for children in stages[:num_stages] for child in children)

    features = network(torch.randn(4, 3, 64, 64))[last]
    if num_stages == len(stages):
        assert not features.requires_grad
    else:
        features.square().mean().backward()
        torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1).step()
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]) == (key.split(".")[0] in frozen), key
    for key, parameter in network.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None) == (key.split(".")[0] not in frozen)


def test_no_frozen_stage_by_default():
    network = create_backbone("resnet18")
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("num_stages", [-1, 5])
def test_impossible_number_of_frozen_stages(num_stages):
    message = rf"^frozen_stages must be 0 … 4 \(stem, res2, res3, res4\), got {num_stages}$"
    with pytest.raises(OptionError, match=message):
        create_backbone("resnet18", frozen_stages=num_stages)


def test_features_of_a_network_that_is_not_built():
    specs = find_feature_specs("resnet18", dilation=("res5",))
    assert list(specs) == ["stem", "res2", "res3", "res4", "res5"]
    assert specs["res5"] == FeatureSpec(512, 16)
    assert find_feature_specs("vgg16")["conv3"] == FeatureSpec(256, 4)
    assert find_feature_specs("timm/vit_tiny_patch16_224") == {"res4": FeatureSpec(192, 16)}
    with pytest.raises(OptionError, match="vgg16 has no stages that can be dilated"):
        find_feature_specs("vgg16", dilation=("res5",))


def test_a_trunk_may_give_more_than_its_split():
    trunk, head = create_trunk_and_head("resnet18", out_features=("res2",))
    assert list(trunk.feature_specs) == ["res2", "res4"] and head.in_channels == 256
    assert list(trunk(torch.zeros(1, 3, 32, 32))) == ["res2", "res4"]
