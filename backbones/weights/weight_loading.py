"""Tensors into networks, with strict reports, and files with what no tensor's shape can tell checked."""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones.features import FeatureNetwork, StageHead
from backbones.norm import norm_eps, set_norm_eps
from backbones.spec import LATER_OPTIONS, Network
from backbones.weights.weight_files import CONVERT, read_weights
from backbones.weights.weight_values import check_values, with_plain_counters
from backbones.weights.weights_header import WeightsHeader
from foundation.errors import WeightsError

logger = logging.getLogger(__name__)
# What no tensor shows, and how it is in the networks whose names these are: torchvision's and timm's.
USUAL = {"stride_on": "3x3", "stem_pool": "padded"}
# What makes other networks of the same names, and mostly of the same shapes.
_UNIT = ("bottlenecks", "unit", "scaling")
# Names that betray the network of another project, and the format that reads them.
_FOREIGN_NAMES = {
    r"(\w+\.)*stem\.conv1\.weight": "detectron2",
    r"(module\.)?layer3\.0\.shortcut\.0\.weight|(module\.)?linear\.weight": "cifar",
    r"((module|_orig_mod|model|net|encoder\w*|backbone|body)\.)+(conv1|layer\d|fc|features)\..*": "FORMAT",
}


def load_weights(
    network: Network, weights: str | Path, parts: Sequence[Network | FeatureNetwork | StageHead]
) -> None:
    """Loads a classifier's file into a network of which only the parts are going to be used."""
    state, header = read_weights(weights)
    if header is None:
        if unsaid := unsaid_option(network.options):
            raise WeightsError(f"{weights} {unsaid}")
    else:
        _check_header(weights, header, network)
    own, used = network.state_dict(), {name for part in parts for name in part.state_dict()}
    last = f"{network.last_layer}.weight"
    classifier = {last, f"{network.last_layer}.bias"}
    if classifier <= used & state.keys():
        theirs, ours = state[last].shape, own[last].shape
        if theirs[1:] == ours[1:] and theirs != ours:
            raise WeightsError(
                f"{weights} is for {theirs[0]} classes, the network for {ours[0]}; "
                f"give num_classes={theirs[0]}"
            )
    unused = own.keys() - used
    try:  # the classifier of another number of classes is left out where it is not used
        load_into(network, state, allow_missing=unused, allow_unexpected=unused & classifier)
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


def unsaid_option(options: Mapping[str, Any]) -> str:
    """Why a file without header cannot be trusted to be of a network with these options; "" where it can.

    Nothing in such a file says where bottlenecks stride or how the stem pools, and no shape shows it, but
    other values than torchvision's make other networks.
    """
    for option, usual in USUAL.items():
        if (given := options.get(option, usual)) != usual:
            declare = f"{CONVERT} ours --{option.replace('_', '-')} {given}"
            return (
                f"has no header, so nothing says that it was trained with {option}={given!r}: files with "
                f"torchvision's names are for {usual!r}. Give {option}={usual!r}, or, if you know that it is "
                f"for {given!r}, write that into a header with {declare}"
            )
    if (unit := options.get("unit", LATER_OPTIONS["unit"])) != LATER_OPTIONS["unit"]:
        return (
            f"has no header, so nothing says that it was trained with unit={unit!r}: save it with "
            "backbones.save_weights and a header whose options are network.options"
        )
    return ""


def _say_what_is_assumed(weights: str | Path, network: Network) -> None:
    """Warns of what a file without header leaves open: none of it changes a shape and fails by itself."""
    names = [option for option in ("shortcut", "stride_on") if option in network.options]
    said = "".join(f"{name}={network.options[name]!r}, " for name in names)
    logger.warning(
        "%s has no header. Assumed: trained with %snorm epsilon %g, on pictures as %s",
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
        _refuse_other(weights, option, header.options[option], network.options[option])
    stated, own = LATER_OPTIONS | header.options, LATER_OPTIONS | network.options
    for name in _UNIT:
        _refuse_other(weights, name, stated[name], own[name])
    theirs, ours = stated["stem_pool"], own["stem_pool"]
    if theirs != ours:
        raise WeightsError(
            f"{weights} is for stem_pool={theirs!r}, not {ours!r}; give stem_pool={theirs!r}, "
            "or convert it with --stem-pool as detectron2 does"
        )


def _refuse_other(weights: str | Path, option: str, theirs: object, ours: object) -> None:
    if theirs != ours:
        raise WeightsError(
            f"{weights} was trained with {option}={theirs!r}, not {ours!r}; give {option}={theirs!r}"
        )


@dataclass(frozen=True)
class LoadReport:
    """Names loaded, and names left out because the caller allowed it."""

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    allow_missing: Collection[str] = (),
    allow_unexpected: Collection[str] = (),
) -> LoadReport:
    """Copies named tensors into a module; nothing is changed unless everything fits.

    A tensor of another shape counts as missing and unexpected at once: name it in both to leave it out. The
    counter `num_batches_tracked`, which old files and frozen normalisation lack, may be absent on either
    side.

    Args:
        module: its parameters and buffers are the names expected.
        state: name → tensor.
        allow_missing: exact names that may keep the module's values.
        allow_unexpected: exact names in state that may go unused.
    Raises:
        WeightsError: lists what is missing, unexpected or of the wrong shape; or a value is NaN or infinite.
    """
    own, state = module.state_dict(), with_plain_counters(state)
    misshapen = {name for name in own if name in state and own[name].shape != state[name].shape}
    missing = [name for name in own if name not in state or name in misshapen]
    unexpected = [name for name in state if name not in own or name in misshapen]
    refused = {name for name in missing if name not in allow_missing}
    refused |= {name for name in unexpected if name not in allow_unexpected}
    refused = {name for name in refused if not name.endswith("num_batches_tracked")}
    if refused:
        raise WeightsError("\n".join(["the weights do not fit the network", *_describe(own, state, refused)]))
    loaded = [name for name in own if name in state and name not in misshapen]
    check_values({name: state[name] for name in loaded}, "the weights")
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(state[name])
    return LoadReport(loaded, missing, unexpected)


def _describe(own: Mapping[str, Tensor], state: Mapping[str, Tensor], refused: Collection[str]) -> list[str]:
    shapes = [
        f"{name}: file {tuple(state[name].shape)}, network {tuple(own[name].shape)}"
        for name in own
        if name in refused and name in state
    ]
    theirs = (
        f"  these are another project's names; convert them with {CONVERT} {source}"
        for pattern, source in _FOREIGN_NAMES.items()
        if any(re.fullmatch(pattern, name) for name in state if name in refused)
    )
    return [
        *listing("missing in the file", [name for name in own if name in refused and name not in state]),
        *listing("not in the network", [name for name in state if name in refused and name not in own]),
        *listing("of another shape", shapes),
        *islice(theirs, 1),
    ]


def listing(title: str, lines: list[str], most: int = 5) -> list[str]:
    """A title and at most so many lines, so that the three kinds together fit a terminal of 24 lines."""
    if not lines:
        return []
    more = [f"    … and {len(lines) - most} more"] if len(lines) > most else []
    return [f"  {len(lines)} {title}:", *(f"    {line}" for line in lines[:most]), *more]
