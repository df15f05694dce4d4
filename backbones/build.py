"""Networks by name, with weights loaded and checked."""

import logging
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args

from torch import Tensor

from backbones.blocks import Shortcut, StrideOn
from backbones.cifar import CifarResNet
from backbones.features import FeatureNetwork, Network, StageHead, freeze_stages
from backbones.norm import freeze_batchnorm, norm_eps, set_norm_eps
from backbones.resnet import ResNet
from backbones.spec import OptionError, check_choice
from backbones.weights import WeightsError, WeightsHeader, load_into, read_weights

logger = logging.getLogger(__name__)
Norm = Literal["batch", "frozen"]
CLASSIFIER = ("fc.weight", "fc.bias")
NAMES = (
    *("plain18", "plain34", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *(f"{kind}{depth}_cifar" for kind in ("plain", "resnet") for depth in (20, 32, 44, 56, 110, 1202)),
)


class Options(TypedDict, total=False):
    """What a network can be built with; all have a default.

    shortcut: "A", "B" or "C"; by default B on ImageNet and A on CIFAR, as the paper.
    stride_on: "3x3" (default; torchvision, timm) or "1x1" (the paper, Caffe); bottlenecks only.
    zero_init_residual: start every residual at zero (Goyal et al. 2017).
    """

    shortcut: Shortcut | None
    stride_on: StrideOn
    zero_init_residual: bool


def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern. CIFAR networks exist for every depth 6n+2; the paper's are listed."""
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
        name: one of `list_models()`, or any `resnet<6n+2>_cifar`, `plain<6n+2>_cifar`.
        weights: file to load strictly (.safetensors, .pth); random if None.
        num_classes: by default 1000, on CIFAR 10.
        norm: "batch", or "frozen" for statistics and affine part that never change.
        **options: see `Options`.
    Raises:
        OptionError: unknown name or option, or one that does not apply to this network.
        WeightsError: the file cannot be read, or is of another network.
    """
    _check_keywords(options, norm, "weights", "num_classes")
    network = _build(name, num_classes, options)
    if weights is not None:
        _load(network, weights, parts=[network])
    if norm == "frozen":
        freeze_batchnorm(network)
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
        name: as in `create_model`.
        out_features: of stem, res2, res3, res4, res5 (CIFAR: to res4).
        frozen_stages: how many stages are fixed, from the stem; 2 is detectron2's FREEZE_AT 2.
        weights: file of the classifier; its fc is left out.
        norm: "batch", or "frozen" in every stage.
        **options: see `Options`.
    Raises:
        OptionError, WeightsError: as in `create_model`.
    """
    _check_keywords(options, norm, "weights", "out_features", "frozen_stages")
    network = _build(name, None, options)
    features = FeatureNetwork(network, out_features)
    if weights is not None:
        _load(network, weights, parts=[features])
    freeze_stages(features, frozen_stages)
    if norm == "frozen":
        freeze_batchnorm(features)
    return features


def create_trunk_and_head(
    name: str,
    *,
    split: str = "res4",
    frozen_stages: int = 0,
    weights: str | Path | None = None,
    norm: Norm = "batch",
    **options: Unpack[Options],
) -> tuple[FeatureNetwork, StageHead]:
    """A network cut in two for C4 (He et al. 2015, appendix A): shared features, and a head per region.

    Args:
        split: last stage of the trunk.
        name, frozen_stages, weights, norm, **options: as in `create_backbone`.
    Returns:
        The trunk, giving {split: features}, and the head, (R, C, h, w) of these → (R, C', h', w').
        Their parameter names together are those of the classifier without fc.
    Raises:
        OptionError, WeightsError: as in `create_model`.
    """
    _check_keywords(options, norm, "weights", "split", "frozen_stages")
    network = _build(name, None, options)
    head, trunk = StageHead(network, split), FeatureNetwork(network, (split,))
    if weights is not None:
        _load(network, weights, parts=[trunk, head])
    freeze_stages(trunk, frozen_stages)
    if norm == "frozen":
        freeze_batchnorm(trunk)
        freeze_batchnorm(head)
    return trunk, head


def _check_keywords(options: Options, norm: Norm, *others: str) -> None:
    """Refuses what is not in `Options`; the other keywords of the caller are there to be named as closest."""
    for option in options:
        check_choice("option", option, (*Options.__annotations__, "norm", *others))
    check_choice("norm", norm, get_args(Norm))


def _build(name: str, num_classes: int | None, options: Options) -> Network:
    cifar = re.fullmatch(r"(plain|resnet)\d+_cifar", name)
    if not cifar:
        check_choice("model", name, NAMES)
    depth = int(re.findall(r"\d+", name)[0])
    _check_options(name, options, bottlenecks=depth >= 50 and not cifar)
    arguments: dict[str, Any] = {option: value for option, value in options.items() if value is not None}
    if name.startswith("plain"):
        arguments["shortcut"] = None
    if num_classes is not None:
        if num_classes < 1:
            raise OptionError(f"num_classes must be at least 1, got {num_classes}")
        arguments["num_classes"] = num_classes
    if cifar:
        arguments.pop("stride_on", None)
        return CifarResNet(depth, **arguments)
    return ResNet(depth, **arguments)


def _check_options(name: str, options: Options, *, bottlenecks: bool) -> None:
    shortcut, stride_on = options.get("shortcut"), options.get("stride_on", "3x3")
    if shortcut is not None:
        check_choice("shortcut", shortcut, get_args(Shortcut))
    check_choice("stride_on", stride_on, get_args(StrideOn))
    if name.startswith("plain") and (shortcut or options.get("zero_init_residual")):
        raise OptionError(f"{name} has no shortcuts; leave out shortcut and zero_init_residual")
    if stride_on == "1x1" and not bottlenecks:
        raise OptionError(f"{name} has no bottlenecks; leave out stride_on='1x1'")


def _load(
    network: Network, weights: str | Path, parts: Sequence[Network | FeatureNetwork | StageHead]
) -> None:
    """Loads a classifier's file into a network of which only the parts are going to be used."""
    state, header = read_weights(weights)
    if header is not None:
        _check_header(weights, header, network)
    used = {name for part in parts for name in part.state_dict()}
    if "fc.weight" in used and "fc.weight" in state:
        _check_classes(weights, state, network)
    unused = network.state_dict().keys() - used
    try:  # the classifier of another number of classes is left out where it is not used
        load_into(network, state, allow_missing=unused, allow_unexpected=unused & set(CLASSIFIER))
    except WeightsError as error:
        raise WeightsError(
            f"{weights} → {network.name}: {error}\n"
            f"  give a file of {network.name}, or the name of the network that this file is of"
        ) from error
    if header is None:
        _say_what_is_assumed(weights, network)
        return
    set_norm_eps(network, header.norm_eps)
    for part in parts:
        part.input_spec = header.input_spec


def _say_what_is_assumed(weights: str | Path, network: Network) -> None:
    """None of it changes a shape, so that a wrong assumption would go unnoticed."""
    options = {name: network.options[name] for name in ("shortcut", "stride_on") if name in network.options}
    said = ", ".join(f"{name}={value!r}" for name, value in options.items())
    logger.warning(
        "%s has no header. Assumed: trained with %s (torchvision and timm: stride_on='3x3'; Caffe: '1x1'), "
        "norm epsilon %g, on pictures as %s",
        *(weights, said, norm_eps(network), network.input_spec),
    )


def _check_header(weights: str | Path, header: WeightsHeader, network: Network) -> None:
    if header.model != network.name:
        raise WeightsError(
            f"{weights} is of {header.model}, not of {network.name}; "
            f"give a file of {network.name}, or the name of the file's network"
        )
    # stride_on changes no shape: only this check can find it.
    for option in [option for option in ("shortcut", "stride_on") if option in network.options]:
        if option not in header.options:
            raise WeightsError(
                f"{weights}: its header does not say {option}; save it with options=network.options"
            )
        theirs, ours = header.options[option], network.options[option]
        if theirs != ours:
            raise WeightsError(
                f"{weights} was trained with {option}={theirs!r}, not {ours!r}; give {option}={theirs!r}"
            )


def _check_classes(weights: str | Path, state: Mapping[str, Tensor], network: Network) -> None:
    """Names the remedy where the classifier differs in its number of classes alone."""
    theirs, ours = (tensors["fc.weight"].shape for tensors in (state, network.state_dict()))
    if theirs[1:] == ours[1:] and theirs != ours:
        raise WeightsError(
            f"{weights} is for {theirs[0]} classes, the network for {ours[0]}; give num_classes={theirs[0]}"
        )
