"""A weight file into a network that may use a part of it, with what no tensor's shape can tell checked."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from backbones.features import FeatureNetwork, StageHead
from backbones.norm import norm_eps, set_norm_eps
from backbones.spec import Network
from backbones.weights.weight_files import WeightsHeader, load_into, read_weights
from foundation.errors import WeightsError

logger = logging.getLogger(__name__)


def load_weights(
    network: Network, weights: str | Path, parts: Sequence[Network | FeatureNetwork | StageHead]
) -> None:
    """Loads a classifier's file into a network of which only the parts are going to be used."""
    state, header = read_weights(weights)
    if header is not None:
        _check_header(weights, header, network)
    used = {name for part in parts for name in part.state_dict()}
    classifier = {f"{network.last_layer}.weight", f"{network.last_layer}.bias"}
    if classifier <= used & state.keys():
        _check_classes(weights, state, network)
    unused = network.state_dict().keys() - used
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


def _say_what_is_assumed(weights: str | Path, network: Network) -> None:
    """None of it changes a shape, so that a wrong assumption would go unnoticed."""
    names = [name for name in ("shortcut", "stride_on") if name in network.options]
    said = "".join(f"{name}={network.options[name]!r}, " for name in names)
    hint = " (torchvision and timm: stride_on='3x3'; Caffe: '1x1')" if "stride_on" in names else ""
    logger.warning(
        "%s has no header. Assumed: trained with %snorm epsilon %g%s, on pictures as %s",
        *(weights, said, norm_eps(network), hint, network.input_spec),
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
    theirs, ours = (options.get("stem_pool", "padded") for options in (header.options, network.options))
    if theirs != ours:
        raise WeightsError(
            f"{weights} is for stem_pool={theirs!r}, not {ours!r}; give stem_pool={theirs!r}, "
            "or convert it with --stem-pool as detectron2 does"
        )


def _check_classes(weights: str | Path, state: Mapping[str, Tensor], network: Network) -> None:
    """Names the remedy where the classifier differs in its number of classes alone."""
    last = f"{network.last_layer}.weight"
    theirs, ours = (tensors[last].shape for tensors in (state, network.state_dict()))
    if theirs[1:] == ours[1:] and theirs != ours:
        raise WeightsError(
            f"{weights} is for {theirs[0]} classes, the network for {ours[0]}; give num_classes={theirs[0]}"
        )
