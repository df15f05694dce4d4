"""Start from a detector: what `model.weights` brings into a training with classes of its own.

Backbone, pyramid, region proposals and the layers that read a region are kept. Of the predictors, whose
outputs are classes, those of classes with the same name are kept, wherever they stand in the two lists; the
others are made anew. `model.category_map` says what classes are called where the names differ.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones import load_into
from backbones.norm import norm_eps
from detection.build import LoadedDetector, adopt, assemble, build_detector, load_detector
from detection.config import DetectionConfig
from detection.model.category_maps import names_in_file
from detection.model.detector import FasterRCNN
from foundation.errors import UserError

logger = logging.getLogger(__name__)
# Keys of which the tensors' shapes or their meaning depend.
_KEYS = (
    *("backbone.name", "backbone.shortcut", "backbone.stride_on", "backbone.stem_pool", "backbone.dilation"),
    *("detector.kind", "detector.class_agnostic", "detector.context", "roi.stages"),
    *("rpn.channels", "rpn.anchor_sizes", "rpn.anchor_ratios", "rpn.anchor_grid", "roi.size", "roi.aligned"),
)
_KEYS_OF_KIND = {
    "c4": (),
    "dc5": ("roi.channels",),
    "fpn": ("roi.channels", "detector.pyramid_channels"),
}
_MASK_HEAD = "roi_heads.mask_head."
# Of every stage, where a detector has several.
_PREDICTOR = re.compile(
    r"roi_heads\.(?:later_stages\.\d+\.)?(classifier|regressor|mask_head\.classifier)\.(?:weight|bias)"
)


def architecture(weights: str | Path) -> list[str]:
    """The overrides, as "backbone.name=resnet50", that make a configuration fit a detector's weights.

    detector.mask is not among them: masks may be added to a detector, or left out.
    """
    config = load_detector(weights).config
    return [f"{key}={value}" for key, value in _architecture(config, masks=config.detector.mask).items()]


def starting_detector(
    config: DetectionConfig, classes: Sequence[str], known: Mapping[str, Any] | None = None
) -> FasterRCNN:
    """The configured detector as `build_detector` makes it, or with what `model.weights` has for it.

    Args:
        classes: names of the labels 1…K.
        known: as of `build_detector`; no weights are read then.
    Raises:
        UserError: the file holds no detector, or one of another architecture, whose keys are listed; or
            `model.category_map` does not fit, see `names_in_file`.
    """
    if config.model.weights is None or known is not None:
        return build_detector(config, len(classes), known)
    source, names = source_detector(config.model.weights, config, classes)
    model = assemble(config, len(classes), weights=None)
    adopt(model, source.model.trunk.input_spec, norm_eps(source.model))
    own = model.state_dict()
    masks = [name for name in {**own, **source.model.state_dict()} if name.startswith(_MASK_HEAD)]
    if config.detector.mask and source.config.detector.mask:
        masks = []
    state = _with_known_classes(source, names, own)
    report = load_into(model, state, allow_missing=masks, allow_unexpected=masks)
    _tell(config.model.weights, report.loaded, report.missing, report.unexpected)
    _tell_classes(source.classes, dict(zip(classes, names, strict=True)))
    return model


def source_detector(
    weights: str, config: DetectionConfig, classes: Sequence[str]
) -> tuple[LoadedDetector, list[str]]:
    """The detector to start from, of the configured architecture, and what it calls each of our classes.

    A name is one of its classes, or without `model.category_map` perhaps none. Errors as above.
    """
    source = load_detector(weights)
    _check(weights, source.config, config)
    return source, names_in_file(config.model.category_map, classes, source.classes, weights)


def _architecture(config: DetectionConfig, *, masks: bool) -> dict[str, str]:
    """The values, in YAML, of the keys that a detector's tensors depend on."""
    kind = config.detector.kind
    keys = [*_KEYS, *_KEYS_OF_KIND.get(kind, _KEYS_OF_KIND["fpn"])]
    if masks:
        keys += ["mask.channels"] if kind == "c4" else ["mask.channels", "mask.convolutions", "mask.size"]
    sections = asdict(config)
    pairs = ((key, key.split(".")) for key in keys)
    return {key: json.dumps(sections[section][name]) for key, (section, name) in pairs}


def _check(weights: str, theirs: DetectionConfig, ours: DetectionConfig) -> None:
    """Refuses weights of a detector of another architecture, with the values to give."""
    if theirs.training == "two_stage":
        raise UserError(
            f"{weights} was trained with training=two_stage and has two trunks; give another file"
        )
    masks = theirs.detector.mask and ours.detector.mask
    before, now = (_architecture(config, masks=masks) for config in (theirs, ours))
    differing = [key for key in before if now.get(key, before[key]) != before[key]]
    if differing:
        lines = [f"{key}: {before[key]} of the file, {now[key]} configured" for key in differing]
        remedy = " ".join(f"'{key}={before[key]}'" for key in differing)
        raise UserError(
            "\n  ".join([f"model.weights={weights} is another detector than the configured one:", *lines])
            + f"\ngive {remedy}"
        )


def _with_known_classes(
    source: LoadedDetector, names: Sequence[str], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The source's tensors with predictors of our classes: the rows of known ones theirs, the others ours.

    Of no known class even the background is ours, whose rows were learnt against all others.

    Args:
        names: what the source calls our classes, or would call them.
    """
    state = source.model.state_dict()
    known = [(source.classes.index(name), i) for i, name in enumerate(names) if name in source.classes]
    rows = torch.tensor(known, dtype=torch.int64).reshape(-1, 2)
    four = torch.arange(4)
    background = torch.zeros(min(1, len(known)), 2, dtype=torch.int64)
    of_part = {
        "classifier": torch.cat([background, rows + 1]),
        "regressor": (rows[:, None] * 4 + four[:, None]).flatten(0, 1),
        "mask_head.classifier": rows,
    }
    if source.config.detector.class_agnostic:
        of_part.pop("regressor")
    for name in own.keys() & state.keys():
        predictor = _PREDICTOR.fullmatch(name)
        if predictor and predictor[1] in of_part:
            pairs, mixed = of_part[predictor[1]], own[name].clone()
            mixed[pairs[:, 1]] = state[name][pairs[:, 0]]
            state[name] = mixed
    return state


def _tell(weights: str, kept: Sequence[str], new: Sequence[str], left_out: Sequence[str]) -> None:
    """Says what became of which part's tensors."""
    parts = [
        ("kept", [name for name in kept if not _PREDICTOR.fullmatch(name)]),
        (
            "made anew, which the file lacks",
            [name for name in new if not name.endswith("num_batches_tracked")],
        ),
        ("left out, which the configuration lacks", [n for n in left_out if not n.endswith("tracked")]),
    ]
    for title, names in parts:
        counts: dict[str, int] = {}
        for name in names:
            first, second = name.split(".")[:2]
            part = f"{first}.{second}" if first == "roi_heads" else first
            counts[part] = counts.get(part, 0) + 1
        if counts:
            text = ", ".join(f"{part} ({count} tensors)" for part, count in counts.items())
            logger.info("model.weights=%s: %s: %s", weights, title, text)


def _tell_classes(theirs: Sequence[str], names: Mapping[str, str]) -> None:
    """Says which outputs of the predictors are kept; `names` are what the file calls our classes."""
    known, new = [n for n in names if names[n] in theirs], [n for n in names if names[n] not in theirs]
    renamed = ", ".join(f"{ours} from {name}" for ours, name in names.items() if ours != name)
    if not new:
        text = f"; by model.category_map {renamed}" if renamed else ""
        logger.info(
            "predictors of class, box and mask: kept, since all %d classes are the file's%s", len(names), text
        )
    else:
        logger.info(
            "predictors of class, box and mask: made anew for %s; kept for %s",
            *(", ".join(new), ", ".join(known) or "none, since the file has no class of these names"),
        )
