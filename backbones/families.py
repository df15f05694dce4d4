"""The one table of all networks by name, and what they can be built with."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypedDict

from backbones.networks.blocks import Shortcut, StrideOn
from backbones.networks.cifar_resnet import CifarResNet
from backbones.networks.highway import STAGES, HighwayNet
from backbones.networks.residual_units import Unit
from backbones.networks.resnet import BLOCKS, PREACT_BLOCKS, VARIANTS, ResNet, StemPool
from backbones.networks.vgg import POOLINGS, VGG
from foundation.errors import OptionError, suggest


class Options(TypedDict, total=False):
    """What a network can be built with; all have a default.

    shortcut: "A", "B" or "C"; by default B on ImageNet and A on CIFAR (bottlenecks there B), as the papers.
    stride_on: "3x3" (default; torchvision, timm) or "1x1" (the paper, Caffe); bottlenecks only.
    zero_init_residual: start every residual at zero (Goyal et al. 2017).
    stem_pool: "padded" (default; torchvision, timm, detectron2) or "ceil" (Caffe); ImageNet only.
    dilation: of res3, res4, res5, the stages whose stride is replaced by dilation: ("res5",) for DC5 and
        output stride 16, ("res4", "res5") for 8; ImageNet only. The weights are those of the strided network.
    bottlenecks: blocks of three convolutions, in depths of 9n+2 (resnet164_cifar); resnet<depth>_cifar only,
        as are the next three. Pre-activation networks have them by their depth.
    unit: of He et al. 2016, "Identity Mappings": "original" (default), "scaled", "exclusive_gating",
        "shortcut_only_gating", "dropout_shortcut", "bn_after_addition", "relu_before_addition" or
        "relu_only_preactivation"; full pre-activation is preact_resnet<depth>_cifar.
    scaling: of unit "scaled", the factors of shortcut and residual; by default (0.5, 0.5).
    gate_bias: of the two gated units, where the gates' biases start; by default -6.
    """

    shortcut: Shortcut | None
    stride_on: StrideOn
    zero_init_residual: bool
    stem_pool: StemPool
    dilation: Sequence[str]
    bottlenecks: bool
    unit: Unit
    scaling: Sequence[float]
    gate_bias: float


@dataclass(frozen=True)
class Family:
    """A kind of network: its names, how it is built, and what others must know of it.

    Attributes:
        build: called as build(**arguments, num_classes=..., **options); gives a `backbones.spec.Network`.
        models: name → arguments, with a depth among them; `list_models` lists these.
        options: those of `Options` that mean something for it.
        any_depth: pattern of names that exist for every depth which `build` accepts, as "resnet{}_cifar".
        num_classes: where no other number is asked for.
        image_size: height and width in pixels of the pictures that it is meant for.
        in_timm: it begins with `conv1` and ends in average pooling and `fc`, as timm's interface expects.
    """

    build: Callable[..., Any]
    models: Mapping[str, Mapping[str, Any]]
    options: tuple[str, ...] = ()
    any_depth: str | None = None
    num_classes: int = 1000
    image_size: int = 224
    in_timm: bool = True


def _depths(pattern: str, *depths: int) -> dict[str, dict[str, Any]]:
    return {pattern.format(depth): {"depth": depth} for depth in depths}


_VARIANTS = {name: dict(zip(("depth", "groups", "width"), of, strict=True)) for name, of in VARIANTS.items()}
_CIFAR: dict[str, Any] = {"num_classes": 10, "image_size": 32}
_CIFAR_DEPTHS = (20, 32, 44, 56, 110, 1202)
_RESIDUAL = ("shortcut", "stride_on", "zero_init_residual")
# All that exists: a new family is a line here, and the module it is built by.
FAMILIES = {
    "plain": Family(
        partial(ResNet, shortcut=None), _depths("plain{}", 18, 34), options=("stem_pool", "dilation")
    ),
    "resnet": Family(
        ResNet, _depths("resnet{}", *BLOCKS) | _VARIANTS, options=(*_RESIDUAL, "stem_pool", "dilation")
    ),
    "preact_resnet": Family(
        partial(ResNet, preact=True),
        _depths("preact_resnet{}", *PREACT_BLOCKS),
        options=(*_RESIDUAL, "dilation"),
    ),
    "vgg": Family(VGG, _depths("vgg{}", *POOLINGS), in_timm=False),
    "plain_cifar": Family(
        partial(CifarResNet, plain=True),
        _depths("plain{}_cifar", *_CIFAR_DEPTHS),
        any_depth="plain{}_cifar",
        **_CIFAR,
    ),
    "resnet_cifar": Family(
        CifarResNet,
        _depths("resnet{}_cifar", *_CIFAR_DEPTHS),
        options=(*_RESIDUAL, "bottlenecks", "unit", "scaling", "gate_bias"),
        any_depth="resnet{}_cifar",
        **_CIFAR,
    ),
    "preact_resnet_cifar": Family(
        partial(CifarResNet, preact=True),
        _depths("preact_resnet{}_cifar", 110, 164, 1001),
        options=_RESIDUAL,
        any_depth="preact_resnet{}_cifar",
        **_CIFAR,
    ),
    "highway_cifar": Family(HighwayNet, _depths("highway{}_cifar", *STAGES), in_timm=False, **_CIFAR),
}


def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern.

    Of the plain and residual CIFAR networks, which exist for every depth, the papers' are listed.
    """
    return [name for family in FAMILIES.values() for name in family.models if fnmatchcase(name, pattern)]


def find_family(name: str) -> tuple[Family, Mapping[str, Any]]:
    """The family that a name belongs to, and the arguments that the name stands for.

    Raises:
        OptionError: there is no such network.
    """
    for family in FAMILIES.values():
        if name in family.models:
            return family, family.models[name]
        if family.any_depth and (found := re.fullmatch(family.any_depth.format(r"(\d+)"), name)):
            return family, {"depth": int(found[1])}
    raise OptionError(f"unknown model {name!r}{suggest(name, list_models())}")


def is_model(name: str) -> bool:
    """Whether a name is that of a network of ours."""
    try:
        find_family(name)
    except OptionError:
        return False
    return True
