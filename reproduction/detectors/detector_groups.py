"""Detectors over several seeds, and their figures on resamples of the pictures, see `paired_groups`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from detection.config import DetectionConfig
from detection.metrics.bootstrap import class_resamples, resampled
from detection.metrics.conventions import COCO50, Conventions, class_matches, mean_of
from detection.metrics.mask_matches import match_masks
from detection.metrics.matching import Floats
from detection.own_sets.split_opener import SplitOpener
from detection.results.comparison import Comparison
from detection.results.metrics_by_name import METRICS
from detection.results.result_records import from_coco_records
from foundation.errors import UserError
from foundation.file_reading import read_json
from reproduction.results.paired_groups import RESAMPLES, SEED, Group

MASKS = "segm/"  # how the figures of masks are named


class Scored(NamedTuple):
    """One scored detector: predictions.json lies in `folder`, `scores` are of result.json, 0…1."""

    folder: Path
    config: DetectionConfig
    scores: Mapping[str, float | None]


def figures_of(metric: str, *, masks: bool = False) -> dict[str, Conventions]:
    """The figures of a metric that are compared, and how each is computed: the main one last.

    Args:
        masks: the same figures of the masks as well, behind those of the boxes.
    Raises:
        UserError: the metric's figure cannot be resampled.
    """
    known = METRICS[metric]
    if known.conventions is None:
        choices = ", ".join(name for name, other in METRICS.items() if other.conventions is not None)
        raise UserError(f"metric={metric} knows no interval of its figure; choose one of {choices}")
    of_boxes = {**({"AP50": COCO50} if metric == "coco" else {}), known.main: known.conventions}
    return of_boxes | {f"{MASKS}{name}": how for name, how in of_boxes.items() if masks}


def has_mask_figures(scores: Iterable[str]) -> bool:
    """Whether any of these names is of masks."""
    return any(name.startswith(MASKS) for name in scores)


def read_group(
    detectors: Sequence[Scored], opened: SplitOpener, resamples: int = RESAMPLES, *, masks: bool = False
) -> Group:
    """The figures of detectors that differ in the seed alone.

    Args:
        masks: those of the masks as well.
    Raises:
        UserError: the data set is not at hand, or predictions.json is missing or of another evaluation.
    """
    figures = figures_of(detectors[0].config.metric, masks=masks)
    found = [_resampled(detector, figures, opened, resamples) for detector in detectors]
    return Group(
        {name: [scores[name] for scores, _, _ in found] for name in figures},
        {name: np.mean([values[name] for _, values, _ in found], axis=0) for name in figures},
        found[0][2],
    )


def _resampled(
    detector: Scored, figures: Mapping[str, Conventions], opened: SplitOpener, resamples: int
) -> tuple[dict[str, float], dict[str, Floats], str]:
    """A detector's figures of all pictures and of every resample, per cent, and the set's fingerprint."""
    data, file = detector.config.data, detector.folder / "predictions.json"
    masks = has_mask_figures(figures)
    dataset = opened(data, data.val, masks=masks)
    records: Any = read_json(file, "remove its folder, and run the command again")
    compared = Comparison(dataset, from_coco_records(records, dataset, str(file)), records)
    of_masks = match_masks(compared.annotations, records) if masks else []
    scores, values = {}, {}
    for name, how in figures.items():
        matches = of_masks if name.startswith(MASKS) else class_matches(compared.matched(how))
        of_all, stated = mean_of(matches, how), detector.scores.get(name)
        if math.isnan(of_all):
            raise UserError(f"{data.val} has no object that counts, so that there is nothing to compare")
        if stated is not None and not math.isclose(stated, of_all, abs_tol=5e-4):
            raise UserError(
                f"{file} gives {name} {100 * of_all:.2f}, not {100 * stated:.2f} as result.json beside it: "
                f"it is of another evaluation, or {data.val} has changed; remove the folder, and run the "
                "command again"
            )
        first = len(how.thresholds)  # COCO's matches are of ten thresholds, of which AP50 needs the first
        matches = [replace(one, hit=one.hit[:first], counts=one.counts[:first]) for one in matches]
        aps = class_resamples(matches, len(dataset), how, resamples, SEED)
        scores[name], values[name] = 100 * of_all, 100 * resampled(aps)
    return scores, values, f"{detector.config.metric} {dataset.fingerprint()}"
