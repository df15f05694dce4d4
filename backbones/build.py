"""Networks by name, with weights loaded and checked."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypedDict, Unpack, cast, get_args

from torch import nn

from backbones.features import FeatureNetwork, StageHead, default_split, freeze_stages
from backbones.networks.blocks import Bottleneck, Shortcut, StrideOn
from backbones.networks.cifar_resnet import CifarResNet
from backbones.networks.highway import HighwayNet
from backbones.networks.preact import PreActBottleneck, PreActCifarResNet, PreActResNet
from backbones.networks.resnet import VARIANTS, ResNet, StemPool
from backbones.networks.vgg import VGG
from backbones.norm import freeze_batchnorm
from backbones.spec import Network
from backbones.weights.weight_files import read_weights
from backbones.weights.weight_loading import load_weights
from foundation.errors import OptionError, WeightsError, check_choice

Norm = Literal["batch", "frozen", "sync"]
NAMES = (
    *("plain18", "plain34", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", *VARIANTS),
    *(f"preact_resnet{depth}" for depth in (18, 34, 50, 101, 152, 200)),
    *("vgg16", "vgg19"),
    *(f"{kind}{depth}_cifar" for kind in ("plain", "resnet") for depth in (20, 32, 44, 56, 110, 1202)),
    *(f"preact_resnet{depth}_cifar" for depth in (110, 164, 1001)),
    *("highway19_cifar", "highway32_cifar"),
)
# These exist for every depth of their pattern.
FREE_DEPTH = r"(plain|resnet|preact_resnet)\d+_cifar"


class Options(TypedDict, total=False):
    """What a network can be built with; all have a default.

    shortcut: "A", "B" or "C"; by default B on ImageNet and A on CIFAR (bottlenecks there B), as the papers.
    stride_on: "3x3" (default; torchvision, timm) or "1x1" (the paper, Caffe); bottlenecks only.
    zero_init_residual: start every residual at zero (Goyal et al. 2017).
    stem_pool: "padded" (default; torchvision, timm, detectron2) or "ceil" (Caffe); ImageNet only.
    dilation: of res3, res4, res5, the stages whose stride is replaced by dilation: ("res5",) for DC5 and
        output stride 16, ("res4", "res5") for 8; ImageNet only. The weights are those of the strided network.
    """

    shortcut: Shortcut | None
    stride_on: StrideOn
    zero_init_residual: bool
    stem_pool: StemPool
    dilation: Sequence[str]


@dataclass(frozen=True)
class Family:
    """How a kind of network is built, and which of `Options` mean something for it."""

    build: Callable[..., Any]
    options: tuple[str, ...] = ()


_RESIDUAL = ("shortcut", "stride_on", "zero_init_residual")
# By the name without its depth; a variant has its ResNet's.
FAMILIES = {
    "plain": Family(partial(ResNet, shortcut=None), ("stem_pool", "dilation")),
    "resnet": Family(ResNet, (*_RESIDUAL, "stem_pool", "dilation")),
    "preact_resnet": Family(PreActResNet, (*_RESIDUAL, "dilation")),
    "vgg": Family(VGG),
    "plain_cifar": Family(partial(CifarResNet, shortcut=None)),
    "resnet_cifar": Family(CifarResNet, ("shortcut", "zero_init_residual")),
    "preact_resnet_cifar": Family(PreActCifarResNet, _RESIDUAL),
    "highway_cifar": Family(HighwayNet),
}
_DEFAULTS = {"stride_on": "3x3", "stem_pool": "padded"}  # of the others: not given, or nothing
# Option: what it does not apply to has none of these.
_NEEDS = {
    "shortcut": "residual shortcuts",
    "zero_init_residual": "residual shortcuts",
    "stride_on": "bottlenecks",
    "stem_pool": "such pooling in its stem",
    "dilation": "stages that can be dilated",
}


def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern.

    Of the plain and residual CIFAR networks, which exist for every depth, the papers' are listed.
    """
    return [name for name in NAMES if fnmatchcase(name, pattern)]


def create_model(
    name: str,
    *,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    norm: Norm = "batch",
    **options: Unpack[Options],
) -> Network:
    """A classifier: (N, 3, H, W) normalised pictures → (N, num_classes) logits.

    Args:
        name: one of `list_models()`, or any `resnet<6n+2>_cifar`, `plain<6n+2>_cifar`,
            `preact_resnet<6n+2 or 9n+2>_cifar`.
        weights: file to load strictly (.safetensors, .pth); random if None.
        num_classes: by default 1000, on CIFAR 10.
        norm: "batch"; "frozen" for statistics and affine part that never change; "sync" for statistics over
            all processes (needs GPUs and a process group to train). VGG and Highway networks have no
            normalisation, and refuse "sync".
        **options: see `Options`.
    Raises:
        OptionError: unknown name or option, or one that does not apply to this network.
        WeightsError: the file cannot be read, or is of another network.
    """
    _check_keywords(options, norm, "weights", "num_classes")
    network = _build(name, num_classes, norm, options)
    if weights is not None:
        load_weights(network, weights, parts=[network])
    _set_norm(network, norm)
    return network


def create_backbone(
    name: str,
    *,
    out_features: Sequence[str] = ("res4",),
    frozen_stages: int = 0,
    weights: str | Path | None = None,
    norm: Norm = "batch",
    **options: Unpack[Options],
) -> FeatureNetwork:
    """Feature maps by name; only the stages they need are kept, and only those must be in the weights.

    Args:
        name: as in `create_model`, or "timm/<name>" for one of timm's networks (docs/hosts.md).
        out_features: of stem, res2, res3, res4, res5 (CIFAR: to res4; VGG: conv1 … conv5).
        frozen_stages: how many stages are fixed, from the stem; 2 is detectron2's FREEZE_AT 2.
        weights: file of the classifier; its fc is left out.
        norm: as in `create_model`, in every stage that is not fixed.
        **options: see `Options`.
    Raises:
        OptionError, WeightsError: as in `create_model`.
    """
    _check_keywords(options, norm, "weights", "out_features", "frozen_stages")
    if name.startswith("timm/"):
        return _from_timm(name, options).create_backbone(
            name, out_features=out_features, frozen_stages=frozen_stages, weights=weights, norm=norm
        )
    network = _build(name, None, norm, options)
    features = FeatureNetwork(network, out_features)
    if weights is not None:
        load_weights(network, weights, parts=[features])
    freeze_stages(features, frozen_stages)
    _set_norm(features, norm)
    return features


def create_trunk_and_head(
    name: str,
    *,
    split: str | None = None,
    frozen_stages: int = 0,
    weights: str | Path | None = None,
    norm: Norm = "batch",
    **options: Unpack[Options],
) -> tuple[FeatureNetwork, StageHead]:
    """A network cut in two for C4 (He et al. 2015, appendix A): shared features, and a head per region.

    Args:
        split: last stage of the trunk; by default the head is one stage: res4, of VGG conv5, whose head is
            fc6 and fc7 on regions of 7x7.
        name, frozen_stages, weights, norm, **options: as in `create_backbone`.
    Returns:
        The trunk, giving {split: features}, and the head, (R, C, h, w) of these → (R, C', h', w').
        Their parameter names together are those of the classifier without fc.
    Raises:
        OptionError, WeightsError: as in `create_model`.
    """
    _check_keywords(options, norm, "weights", "split", "frozen_stages")
    if name.startswith("timm/"):
        return _from_timm(name, options).create_trunk_and_head(
            name, split=split, frozen_stages=frozen_stages, weights=weights, norm=norm
        )
    network = _build(name, None, norm, options)
    split = split or default_split(network)
    head, trunk = StageHead(network, split), FeatureNetwork(network, (split,))
    if weights is not None:
        load_weights(network, weights, parts=[trunk, head])
    freeze_stages(trunk, frozen_stages)
    _set_norm(trunk, norm)
    _set_norm(head, norm)
    return trunk, head


def load_network(
    weights: str | Path, *, out_features: Sequence[str] = (), norm: Norm = "batch"
) -> Network | FeatureNetwork:
    """The network that a weight file is of, built as its header says.

    Args:
        weights: a classifier's file with our header.
        out_features: features to give; without any the network is the classifier.
        norm: as in `create_model`.
    Raises:
        OptionError: it has no such features.
        WeightsError: the file has no header, is of a detector, or does not fit its header.
    """
    _, header = read_weights(weights)
    if header is None or header.model not in NAMES and not re.fullmatch(FREE_DEPTH, header.model):
        found = "no header" if header is None else f"that of a {header.model}"
        raise WeightsError(
            f"{weights}: expected a header that names one of our networks, found {found}; "
            "give a file of tools/pretrain.py or tools/convert_weights.py"
        )
    kept = {name: value for name, value in header.options.items() if name in Options.__annotations__}
    options = cast(Options, kept)
    if out_features:
        return create_backbone(header.model, out_features=out_features, weights=weights, norm=norm, **options)
    num_classes = header.options.get("num_classes")
    return create_model(header.model, num_classes=num_classes, weights=weights, norm=norm, **options)


def _set_norm(part: nn.Module, norm: Norm) -> None:
    if norm == "frozen":
        freeze_batchnorm(part)
    elif norm == "sync":
        nn.SyncBatchNorm.convert_sync_batchnorm(part)


def _check_keywords(options: Options, norm: Norm, *others: str) -> None:
    """Refuses what is not in `Options`; the other keywords of the caller are there to be named as closest."""
    for option in options:
        check_choice("option", option, (*Options.__annotations__, "norm", *others))
    check_choice("norm", norm, get_args(Norm))


def _build(name: str, num_classes: int | None, norm: Norm, options: Options) -> Network:
    if not re.fullmatch(FREE_DEPTH, name):
        check_choice("model", name, NAMES)
    _check_values(options)
    given = _given(options)
    depth = int(re.findall(r"\d+", name)[0])
    arguments: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if num_classes is not None and num_classes < 1:
        raise OptionError(f"num_classes must be at least 1, got {num_classes}")
    if name in VARIANTS:
        family = FAMILIES["resnet"]
        depth, arguments["groups"], arguments["width"] = VARIANTS[name]
    else:
        family = FAMILIES[re.sub(r"\d+", "", name)]
    for option in given:
        if option not in family.options:
            raise OptionError(f"{name} has no {_NEEDS[option]}; leave out {option}={given[option]!r}")
    network = family.build(depth, **arguments, **given)
    bottlenecks = any(isinstance(module, Bottleneck | PreActBottleneck) for module in network.modules())
    if "stride_on" in given and not bottlenecks:
        raise OptionError(f"{name} has no bottlenecks; leave out stride_on={given['stride_on']!r}")
    if norm == "sync" and not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        raise OptionError(f"{name} has no batch normalisation; leave out norm='sync'")
    return network


def _given(options: Options) -> dict[str, Any]:
    """The options that differ from the default."""
    return {option: value for option, value in options.items() if value and value != _DEFAULTS.get(option)}


def _from_timm(name: str, options: Options) -> ModuleType:
    """What builds timm's networks; imported here because timm is needed for them alone."""
    for option, value in _given(options).items():
        raise OptionError(f"{name} is built by timm; leave out {option}={value!r}")
    try:
        from backbones.networks import timm_networks as from_timm
    except ModuleNotFoundError as error:
        raise OptionError(f"{name} needs timm ({error}); pip install 'residual-backbones[timm]'") from error
    return from_timm


def _check_values(options: Options) -> None:
    if options.get("shortcut") is not None:
        check_choice("shortcut", options["shortcut"], get_args(Shortcut))
    check_choice("stride_on", options.get("stride_on", "3x3"), get_args(StrideOn))
    check_choice("stem_pool", options.get("stem_pool", "padded"), get_args(StemPool))
    dilation = options.get("dilation", ())
    if isinstance(dilation, str):  # it would be taken letter by letter
        raise OptionError(f"dilation must be a list of stages, such as ['res5'], got {dilation!r}")
    for stage in dilation:
        check_choice("stage to dilate", stage, ("res3", "res4", "res5"))
