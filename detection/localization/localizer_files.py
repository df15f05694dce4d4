"""From configuration to a network for localization, and back from its weight file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from backbones import WeightsError, WeightsHeader, create_backbone, load_into, read_weights
from backbones.norm import norm_eps
from detection.build import adopt, started
from detection.localization.localization_config import LocalizationConfig
from detection.localization.localizer import Localizer, RegionLocalizer, RpnLocalizer
from detection.model.per_class_rpn import PerClassRpn, sizes_of_anchors
from foundation.errors import UserError
from training.config import parse_config

NETWORKS = {"rpn": RpnLocalizer, "rcnn": RegionLocalizer}


def build_localizer(
    config: LocalizationConfig, num_classes: int, known: Mapping[str, Any] | None = None
) -> Localizer:
    """The configured network with the backbone's weights, if the configuration names any.

    Args:
        num_classes: K.
        known: what a checkpoint says of the network that its tensors are for (see `network_facts`); the
            backbone's weights are not read then.
    Raises:
        UserError: something is to be frozen, and there are no weights; or they lack what norm=batch needs.
        OptionError, WeightsError: the backbone does not exist or its weights do not fit.
    """
    return started(lambda weights: assemble_localizer(config, num_classes, weights), config.backbone, known)


def assemble_localizer(config: LocalizationConfig, num_classes: int, weights: str | None) -> Localizer:
    """The network with these weights of the backbone, or with none."""
    options: dict[str, Any] = {**asdict(config.backbone), "weights": weights}
    trunk = create_backbone(out_features=(config.feature,), **options)
    if config.step == "rcnn":
        return RegionLocalizer(trunk, num_classes, box_loss_beta=config.regions.box_loss_beta)
    sizes = sizes_of_anchors(config.rpn, config.data.image_size)
    return RpnLocalizer(
        trunk, PerClassRpn(trunk.feature_specs[config.feature], num_classes, sizes, config.rpn)
    )


def localizer_header(
    model: Localizer,
    config: LocalizationConfig,
    classes: Sequence[str],
    scores: Mapping[str, float],
    *,
    category_ids: Sequence[int],
) -> WeightsHeader:
    """What the weight file says of the network."""
    return WeightsHeader(
        model=type(model).__name__,
        options={**asdict(config.backbone), "category_ids": list(category_ids)},
        input_spec=model.trunk.input_spec,
        norm_eps=norm_eps(model),
        score=dict(scores),
        dataset=f"{config.data.kind} {config.data.train}",
        config=asdict(config),
        classes=list(classes),
    )


class LoadedLocalizer(NamedTuple):
    """A network in evaluation mode, its configuration and its class names."""

    model: Localizer
    config: LocalizationConfig
    classes: list[str]


def load_localizer(path: str | Path, overrides: Sequence[str] = ()) -> LoadedLocalizer:
    """A trained network from its weight file alone.

    Args:
        overrides: changes to the configuration it was trained with, for instance "testing.protocol=one_crop".
    Raises:
        WeightsError: the file is broken or does not fit its own header.
        UserError: it is of something else, or an override is wrong.
    """
    state, header = read_weights(path)
    kinds = {kind.__name__ for kind in NETWORKS.values()}
    if header is None or header.model not in kinds:
        found = "no header" if header is None else f"those of a {header.model}"
        raise UserError(
            f"{path}: expected the weights of a network for localization (best.safetensors of "
            f"tools/train_loc.py), found {found}"
        )
    config = parse_config(LocalizationConfig, header.config, overrides, source=str(path))
    model = assemble_localizer(config, len(header.classes), weights=None)
    adopt(model, header.input_spec, header.norm_eps)
    try:
        load_into(model, state)
    except WeightsError as error:
        raise WeightsError(
            f"{path}: {error}\nleave step, feature, backbone, rpn and data.image_size as they were trained"
        ) from error
    return LoadedLocalizer(model.eval(), config, header.classes)
