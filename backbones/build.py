"""Networks by name, with weights loaded and checked."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack, cast, get_args

import torch
from torch import nn

from backbones.families import Options, find_family, is_model
from backbones.features import FeatureNetwork, StageHead, default_split, freeze_stages
from backbones.networks.blocks import Shortcut, StrideOn, has_bottlenecks
from backbones.networks.resnet import StemPool
from backbones.norm import freeze_batchnorm
from backbones.spec import LATER_OPTIONS, FeatureSpec, Network
from backbones.weights.weight_files import read_header
from backbones.weights.weight_loading import load_weights
from foundation.errors import OptionError, WeightsError, check_choice

Norm = Literal["batch", "frozen", "sync"]
# Option: its default, and what a network lacks for which it means nothing.
_OPTIONS: dict[str, tuple[Any, str]] = {
    "shortcut": (None, "residual shortcuts"),
    "zero_init_residual": (False, "residual shortcuts"),
    "stride_on": ("3x3", "bottlenecks"),
    "stem_pool": (LATER_OPTIONS["stem_pool"], "such pooling in its stem"),
    "dilation": ((), "stages that can be dilated"),
    "bottlenecks": (LATER_OPTIONS["bottlenecks"], "choice of basic blocks or bottlenecks"),
    **{
        option: (LATER_OPTIONS[option], "variants of the residual unit")
        for option in ("unit", "scaling", "gate_bias")
    },
}


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
        weights: file (.safetensors, .pth) or published name, loaded strictly; random if None.
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
    _finish(network, [network], weights, norm)
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
        weights: file or published name of the classifier; its fc is left out.
        norm: as in `create_model`, in every stage that is not fixed.
        **options: see `Options`.
    Raises:
        OptionError, WeightsError: as in `create_model`.
    """
    _check_keywords(options, norm, "weights", "out_features", "frozen_stages")
    network, finish = _network_to_cut(name, norm, options)
    features = FeatureNetwork(network, out_features)
    finish(network, [features], weights, norm, frozen_stages)
    return features


def create_trunk_and_head(
    name: str,
    *,
    split: str | None = None,
    out_features: Sequence[str] = (),
    frozen_stages: int = 0,
    weights: str | Path | None = None,
    norm: Norm = "batch",
    **options: Unpack[Options],
) -> tuple[FeatureNetwork, StageHead]:
    """A network cut in two for C4 (He et al. 2015, appendix A): shared features, and a head per region.

    Args:
        split: last stage of the trunk; by default the head is one stage: res4, of VGG conv5, whose head is
            fc6 and fc7 on regions of 7x7.
        out_features: what the trunk gives beside the split.
        name, frozen_stages, weights, norm, **options: as in `create_backbone`.
    Returns:
        The trunk, giving {split: features} and what else was asked for, and the head, which takes
        (R, C, h, w) of the split to (R, C', h', w').
        Their parameter names together are those of the classifier without fc.
    Raises:
        OptionError: as in `create_model`, or a feature comes after the split.
        WeightsError: as in `create_model`.
    """
    _check_keywords(options, norm, "weights", "split", "out_features", "frozen_stages")
    network, finish = _network_to_cut(name, norm, options)
    split = split or default_split(network)
    head, trunk = StageHead(network, split), FeatureNetwork(network, (*out_features, split))
    if set(trunk.stages) & set(head.stages):
        raise OptionError(f"the trunk ends in {split}, got out_features={list(out_features)!r}")
    finish(network, [trunk, head], weights, norm, frozen_stages)
    return trunk, head


def find_feature_specs(name: str, **options: Unpack[Options]) -> dict[str, FeatureSpec]:
    """Channels and stride of every feature that `create_backbone` can give, without memory for a network.

    Args:
        name, **options: as in `create_backbone`.
    Raises:
        OptionError: as in `create_model`.
    """
    _check_keywords(options, "batch")
    with torch.device("meta"):
        return _network_to_cut(name, "batch", options)[0].feature_specs


def load_network(
    weights: str | Path, *, out_features: Sequence[str] = (), norm: Norm = "batch"
) -> Network | FeatureNetwork:
    """The network that a weight file is of, built as its header says.

    Args:
        weights: a classifier's file with our header, or a published name.
        out_features: features to give; without any the network is the classifier.
        norm: as in `create_model`.
    Raises:
        OptionError: it has no such features.
        WeightsError: the file has no header, is of a detector, or does not fit its header.
    """
    header = read_header(weights)
    if header is None or not is_model(header.model):
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


def _finish(
    network: Network,
    parts: Sequence[Network | FeatureNetwork | StageHead],
    weights: str | Path | None,
    norm: Norm,
    frozen_stages: int = 0,
) -> None:
    """Loads the weights of the parts in use, fixes stages of the first, and sets their normalisation."""
    if weights is not None:
        load_weights(network, weights, parts)
    if isinstance(parts[0], FeatureNetwork):
        freeze_stages(parts[0], frozen_stages)
    for part in parts:
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
    family, arguments = find_family(name)
    _check_values(options)
    if num_classes is not None and num_classes < 1:
        raise OptionError(f"num_classes must be at least 1, got {num_classes}")
    given = _given(options)
    for option in given:
        if option not in family.options:
            raise OptionError(f"{name} has no {_OPTIONS[option][1]}; leave out {option}={given[option]!r}")
    network = family.build(**arguments, num_classes=num_classes or family.num_classes, **given)
    if "stride_on" in given and not has_bottlenecks(network):
        raise OptionError(f"{name} has no bottlenecks; leave out stride_on={given['stride_on']!r}")
    if norm == "sync" and not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        raise OptionError(f"{name} has no batch normalisation; leave out norm='sync'")
    return network


def _given(options: Options) -> dict[str, Any]:
    """The options that differ from the default."""
    return {
        option: value
        for option, value in options.items()
        if value is not None and _listed(value) != _listed(_OPTIONS[option][0])
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _network_to_cut(name: str, norm: Norm, options: Options) -> tuple[Network, Callable[..., None]]:
    """A network of ours or timm's, and what does the work of `_finish` for it."""
    if not name.startswith("timm/"):
        return _build(name, None, norm, options), _finish
    for option, value in _given(options).items():
        raise OptionError(f"{name} is built by timm; leave out {option}={value!r}")
    try:  # here, because timm is needed for its networks alone
        from backbones.networks import timm_networks, timm_vit
    except ModuleNotFoundError as error:
        raise OptionError(f"{name} needs timm ({error}); pip install 'residual-backbones[timm]'") from error
    plain = timm_vit.is_plain_transformer(name)
    network = timm_vit.TimmTransformer(name) if plain else timm_networks.TimmBackbone(name)
    return cast(Network, network), timm_networks.finish


def _check_values(options: Options) -> None:
    for option, choices in (("shortcut", Shortcut), ("stride_on", StrideOn), ("stem_pool", StemPool)):
        value = options.get(option, _OPTIONS[option][0])
        if option != "shortcut" or value is not None:
            check_choice(option, value, get_args(choices))
    for option in ("zero_init_residual", "bottlenecks"):
        switch = options.get(option, False)
        if not isinstance(switch, bool):
            raise OptionError(f"{option} must be true or false, got {switch!r}")
    dilation = options.get("dilation", ())
    if isinstance(dilation, str) or not isinstance(dilation, Sequence):  # text would be taken by letters
        raise OptionError(f"dilation must be a list of stages, such as ['res5'], got {dilation!r}")
    for stage in dilation:
        check_choice("stage to dilate", stage, ("res3", "res4", "res5"))
