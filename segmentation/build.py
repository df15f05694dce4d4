"""From configuration to a network for semantic segmentation, and back from a weight file."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from backbones import WeightsHeader, read_weights
from backbones.families import Options
from backbones.norm import lacks_statistics, norm_eps, set_norm_eps
from backbones.spec import InputSpec
from foundation.errors import UserError
from segmentation.config import SegmentationConfig
from segmentation.model.segmenter import Segmenter
from segmentation.model.segmenter_options import SegmenterOptions
from segmentation.model.segmenter_weights import adopt_weights, segmenter_header
from segmentation.model.segmenters_by_name import create_model, load_network
from training.config import override_values, parse_config

logger = logging.getLogger(__name__)


def build_segmenter(
    config: SegmentationConfig, classes: Sequence[str], known: Mapping[str, Any] | None = None
) -> Segmenter:
    """The configured network with the weights that the configuration names, if any.

    Args:
        classes: K names.
        known: what a checkpoint says of the network that its tensors are for (see `segmenter_facts`); no
            weights are read then.
    Raises:
        UserError: something is to be frozen, and there are no weights; or they lack what norm=batch needs.
        OptionError, WeightsError: the network does not exist, or its weights do not fit.
    """
    model = config.model
    start = model.weights or model.backbone_weights
    if known is not None:
        network = _create(config, len(classes))
        network.backbone.input_spec = InputSpec(**known["input_spec"])
        set_norm_eps(network, known["norm_eps"])
        return network
    if start is None and (model.norm == "frozen" or model.frozen_stages):
        raise UserError(
            "model.backbone_weights is not set, so there is nothing worth freezing; name a weight file "
            "(tools/pretrain.py writes best.safetensors), or train from scratch with model.norm=batch "
            "model.frozen_stages=0"
        )
    network = _create(config, len(classes), backbone_weights=model.backbone_weights)
    if model.weights is not None:
        _adopt(network, model.weights, classes)
    if model.norm != "frozen" and lacks_statistics(network):
        raise UserError(
            f"{start} holds the scale and shift of its normalisation, not the statistics that "
            f"model.norm={model.norm} goes on from; set model.norm=frozen, or give other weights"
        )
    return network


def _create(
    config: SegmentationConfig, num_classes: int, *, backbone_weights: str | None = None
) -> Segmenter:
    model = config.model
    options: Options = {}
    if model.shortcut is not None:
        options["shortcut"] = model.shortcut
    if model.stride_on != SegmenterOptions.stride_on:
        options["stride_on"] = model.stride_on
    return create_model(
        model.name,
        num_classes=num_classes,
        aux=model.aux,
        output_stride=model.output_stride,
        norm=model.norm,
        frozen_stages=model.frozen_stages,
        backbone_weights=backbone_weights,
        **options,
    )


def _adopt(network: Segmenter, weights: str, classes: Sequence[str]) -> None:
    """Loads a file of such a network; of other classes all but the last layers of its heads."""
    state, header = read_weights(weights)
    if header is None or header.classes == list(classes):
        adopt_weights(network, state, header, source=weights)
        return
    own = network.state_dict()
    last = {name for name in own if name in state and own[name].shape != state[name].shape}
    logger.info("%s is for other classes: %s start anew", weights, ", ".join(sorted(last)))
    adopt_weights(network, {**state, **{name: own[name] for name in last}}, None, source=weights)
    network.backbone.input_spec = header.input_spec
    set_norm_eps(network, header.norm_eps)


def segmenter_facts(network: Segmenter) -> dict[str, Any]:
    """What came with the weights besides tensors, as a checkpoint keeps it."""
    return {"input_spec": asdict(network.input_spec), "norm_eps": norm_eps(network)}


def trained_header(
    network: Segmenter, config: SegmentationConfig, classes: Sequence[str], scores: Mapping[str, float]
) -> WeightsHeader:
    """What the weight file of a training says."""
    dataset = f"{config.data.kind} {config.data.train}"
    return segmenter_header(network, classes=classes, dataset=dataset, scores=scores, config=asdict(config))


class TrainedSegmenter(NamedTuple):
    """A network in evaluation mode, its configuration and its class names."""

    network: Segmenter
    config: SegmentationConfig
    classes: list[str]


def load_trained(path: str | Path, overrides: Sequence[str] = ()) -> TrainedSegmenter:
    """A trained network from its weight file alone.

    Args:
        overrides: changes to its configuration, for instance "testing.flip=true" or "model.output_stride=8".
    Raises:
        WeightsError: the file is broken, of no such network, or does not fit its header.
        UserError: an override is wrong, or the file was not written by a training.
    """
    stride = override_values(overrides).get("model.output_stride")
    network, header = load_network(path, output_stride=stride if isinstance(stride, int) else None)
    if not header.config:
        raise UserError(f"{path} has no configuration of a training; load it with segmentation.create_model")
    config = parse_config(SegmentationConfig, header.config, overrides, source=str(path))
    return TrainedSegmenter(network, config, list(header.classes))
