"""From configuration to data sets and detectors, and back from a weight file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from torch import nn

from backbones import WeightsError, WeightsHeader, load_into, read_weights
from backbones.norm import lacks_statistics, norm_eps, set_norm_eps
from backbones.spec import InputSpec
from detection.config import BackboneConfig, DetectionConfig
from detection.model.detector import FasterRCNN, TwoTrunkRCNN
from detection.model.detector_kinds import KINDS
from foundation.errors import UserError
from training.config import parse_config

Model = TypeVar("Model", bound=nn.Module)  # of those here, whose `trunk` reads the pictures


def build_detector(
    config: DetectionConfig, num_classes: int, known: Mapping[str, Any] | None = None
) -> FasterRCNN:
    """The configured detector with the backbone's weights, if the configuration names any.

    Args:
        num_classes: without the background.
        known: what a checkpoint says of the network that its tensors are for (see `network_facts`); the
            backbone's weights are not read then.
    Raises:
        UserError: frozen normalisation without weights, or weights for frozen normalisation without it.
        OptionError, WeightsError: the backbone does not exist or its weights do not fit.
    """
    return started(lambda weights: assemble(config, num_classes, weights), config.backbone, known)


def started(
    build: Callable[[str | None], Model], backbone: BackboneConfig, known: Mapping[str, Any] | None
) -> Model:
    """What `build` makes of the backbone's weights, or of none where a checkpoint has the tensors.

    Args:
        build: takes a file or published name, or None.
        known: as of `build_detector`, whose errors are raised.
    """
    if known is not None:
        return adopt(build(None), InputSpec(**known["input_spec"]), known["norm_eps"])
    if backbone.weights is None and (backbone.norm == "frozen" or backbone.frozen_stages):
        raise UserError(
            "backbone.weights is not set, so there is nothing worth freezing: a random network with fixed "
            "normalisation does not train. Name a weight file (tools/pretrain.py writes best.safetensors), "
            "or train from scratch with backbone.norm=batch backbone.frozen_stages=0"
        )
    model = build(backbone.weights)
    if backbone.norm != "frozen" and lacks_statistics(model):
        raise UserError(
            f"{backbone.weights} holds the scale and shift of its normalisation, not the statistics that "
            f"backbone.norm={backbone.norm} goes on from; set backbone.norm=frozen, or give other weights"
        )
    return model


def assemble(config: DetectionConfig, num_classes: int, weights: str | None) -> FasterRCNN:
    """As `build_detector`, with other weights than the configuration's, or with none whatever it freezes."""
    kind, backbone = KINDS[config.detector.kind], {**asdict(config.backbone), "weights": weights}
    detector, *others = (
        kind.build(*kind.networks(**backbone), num_classes, config.detector_options)
        for _ in range(2 if config.training == "two_stage" else 1)
    )
    return (
        TwoTrunkRCNN(others[0].trunk, detector.trunk, detector.rpn, detector.roi_heads)
        if others
        else detector
    )


def network_facts(model: nn.Module) -> dict[str, Any]:
    """What came with the backbone's weights besides tensors, as a checkpoint keeps it."""
    trunk: Any = model.trunk
    return {"input_spec": asdict(trunk.input_spec), "norm_eps": norm_eps(model)}


def adopt(model: Model, input_spec: InputSpec, eps: float) -> Model:
    """The same model, which takes pictures and has the epsilon that its weights were trained with."""
    trunk: Any = model.trunk
    trunk.input_spec = input_spec
    set_norm_eps(model, eps)
    return model


def detector_header(
    model: FasterRCNN,
    config: DetectionConfig,
    classes: Sequence[str],
    scores: Mapping[str, float],
    *,
    category_ids: Sequence[int],
) -> WeightsHeader:
    """What a detector's weight file says of it, the training set's own ids of the classes among others."""
    return WeightsHeader(
        model=FasterRCNN.__name__,
        options={**asdict(config.backbone), "category_ids": list(category_ids)},
        input_spec=model.trunk.input_spec,
        norm_eps=norm_eps(model),
        score=dict(scores),
        dataset=f"{config.data.kind} {config.data.train}",
        config=asdict(config),
        classes=list(classes),
    )


class LoadedDetector(NamedTuple):
    """A network in evaluation mode, its configuration, its class names and their ids in the training set."""

    model: FasterRCNN
    config: DetectionConfig
    classes: list[str]
    category_ids: list[int]


def load_detector(path: str | Path, overrides: Sequence[str] = ()) -> LoadedDetector:
    """A trained detector from its weight file alone, or a published one by its name.

    Args:
        overrides: changes to the configuration it was trained with, for instance "run.device=cpu".
    Raises:
        WeightsError: the file is broken or does not fit its own header.
        UserError: it holds no detector, or an override is wrong.
    """
    from detection.published_detectors import find_detector  # only here: it builds detectors with this module

    state, header = read_weights(find_detector(path))
    if header is None or header.model != FasterRCNN.__name__:
        found = "no header" if header is None else f"those of a {header.model}"
        raise UserError(
            f"{path}: expected a detector's weights (best.safetensors of tools/train_det.py), found {found}"
        )
    config = parse_config(DetectionConfig, header.config, overrides, source=str(path))
    model = assemble(config, len(header.classes), weights=None)
    adopt(model, header.input_spec, header.norm_eps)
    try:
        load_into(model, state)
    except WeightsError as error:
        raise WeightsError(
            f"{path}: {error}\nleave its classes, backbone, anchors, rpn.channels, detector.context and "
            "roi.stages as they were trained; only other keys can be overridden"
        ) from error
    # Files of the first release do not say.
    category_ids = header.options.get("category_ids", list(range(1, len(header.classes) + 1)))
    return LoadedDetector(model.eval(), config, header.classes, category_ids)


def load_detectors(paths: Sequence[str | Path], overrides: Sequence[str] = ()) -> list[LoadedDetector]:
    """The members of an ensemble, or one detector alone.

    Raises:
        UserError: no two of them can answer together; else as `load_detector`.
    """
    members = [load_detector(path, overrides) for path in paths]
    for path, member in zip(paths[1:], members[1:], strict=True):
        if member.classes != members[0].classes:
            raise UserError(
                f"{path} knows the classes {', '.join(member.classes)}; {paths[0]} knows "
                f"{', '.join(members[0].classes)}: the detectors of an ensemble need the same, in one order"
            )
        if member.config.detector.mask != members[0].config.detector.mask:
            having, lacking = (path, paths[0]) if member.config.detector.mask else (paths[0], path)
            raise UserError(f"{having} makes masks and {lacking} does not; in an ensemble all must, or none")
    return members
