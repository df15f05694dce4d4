"""Weight files of networks for semantic segmentation: what their header says, and loading them strictly."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from backbones import WeightsError, WeightsHeader, load_into, read_weights
from backbones.norm import norm_eps, set_norm_eps
from backbones.spec import LATER_OPTIONS
from backbones.weights.weight_loading import unsaid_option
from segmentation.model.segmenter import Segmenter

logger = logging.getLogger(__name__)
AUX = "aux_classifier."
# Options that no tensor's shape shows, and that make another network of the same weights.
_UNSEEN = ("shortcut", "stride_on", "stem_pool")


def segmenter_header(
    network: Segmenter,
    *,
    classes: Sequence[str] = (),
    dataset: str = "",
    scores: Mapping[str, float] | None = None,
    config: Mapping[str, Any] | None = None,
) -> WeightsHeader:
    """What a weight file says of the network in it, for `backbones.save_weights`.

    Args:
        classes: K names in order.
        dataset: it was trained on.
        scores: on that set's validation part.
        config: of the run.
    Raises:
        OptionError: there are other than K classes.
    """
    return WeightsHeader(
        model=network.name,
        options=network.options,
        input_spec=network.input_spec,
        norm_eps=norm_eps(network),
        score=dict(scores or {}),
        dataset=dataset,
        config=dict(config or {}),
        classes=list(classes),
    )


def load_segmenter_weights(network: Segmenter, weights: str | Path) -> None:
    """Loads a file of ours, or one with torchvision's names, which has no header, strictly.

    The auxiliary head in a file is left out where the network has none. The output stride may be another
    than the file's: DeepLabv3 is trained at 16 and tested at 8 (Chen et al. 2017, §4.1).

    Raises:
        WeightsError: the file cannot be read, or is of another network.
    """
    state, header = read_weights(weights)
    adopt_weights(network, state, header, source=weights)


def adopt_weights(
    network: Segmenter, state: Mapping[str, Tensor], header: WeightsHeader | None, *, source: str | Path
) -> None:
    """As `load_segmenter_weights`, of a file that has been read."""
    if header is not None:
        _check_header(network, header, source)
    elif unsaid := unsaid_option(network.backbone.options):
        raise WeightsError(f"{source} {unsaid}")
    unused = {name for name in state if name.startswith(AUX)} if network.aux_classifier is None else set()
    try:
        load_into(network, state, allow_unexpected=unused)
    except WeightsError as error:
        raise WeightsError(
            f"{source} → {network.name}: {error}\n  give a file of {network.name} for {network.num_classes} "
            f"classes{' with an auxiliary head, or leave out aux' if network.aux_classifier else ''}"
        ) from error
    if header is None:
        logger.warning(
            "%s has no header. Assumed: norm epsilon %g, pictures as %s",
            *(source, norm_eps(network), network.input_spec),
        )
        return
    set_norm_eps(network, header.norm_eps)
    network.backbone.input_spec = header.input_spec


def _check_header(network: Segmenter, header: WeightsHeader, source: str | Path) -> None:
    if header.model != network.name:
        raise WeightsError(
            f"{source} is of {header.model}, not of {network.name}; give a file of {network.name}, or the "
            "name of the file's network"
        )
    ours, theirs = LATER_OPTIONS | network.options, LATER_OPTIONS | header.options
    for option in _UNSEEN:
        if ours.get(option) != theirs.get(option):
            raise WeightsError(
                f"{source} was trained with {option}={theirs.get(option)!r}, not {ours.get(option)!r}; give "
                f"{option}={theirs.get(option)!r}"
            )
