"""Detectors compared pair by pair over several seeds, on the same resamples of the pictures.

For each seed the same pictures are drawn with replacement, the figure of each drawing is averaged over the
seeds, and the interval is of the difference of two such means. So it speaks of the choice of pictures: what
is hard about a picture counts for neither. What another training would change, the deviation over the seeds
says.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from detection.config import DetectionConfig
from detection.metrics.bootstrap import class_resamples, interval_of, resampled
from detection.metrics.conventions import COCO50, Conventions, class_matches, mean_of
from detection.metrics.matching import Floats
from detection.own_sets.split_opener import SplitOpener
from detection.results.comparison import Comparison
from detection.results.metrics_by_name import METRICS
from detection.results.result_records import from_coco_records
from foundation.errors import UserError
from foundation.file_reading import read_json

RESAMPLES, LEVEL, SEED = 1000, 0.95, 0
ABOUT = (
    f"In brackets stands the {100 * LEVEL:g} % interval of a difference over the choice of pictures: for "
    f"each seed the same {RESAMPLES:,} resamples of the pictures are drawn, the figure of each is averaged "
    "over the seeds, and the interval is of the difference of these means. What other trainings of the same "
    "recipe would change is not in it: the deviation over the seeds speaks of that."
)


class Scored(NamedTuple):
    """One scored detector: predictions.json lies in `folder`, `scores` are of result.json, 0…1."""

    folder: Path
    config: DetectionConfig
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class Group:
    """Detectors that differ in the seed alone.

    Attributes:
        scores: per cent, of every seed by the name of the figure.
        resamples: (B,) per cent, the mean over the seeds of each resample of the pictures.
        fingerprint: of the metric, the pictures and their annotations.
    """

    scores: dict[str, list[float]]
    resamples: dict[str, Floats]
    fingerprint: str


@dataclass(frozen=True)
class Difference:
    """Of two groups' means, percentage points; the interval is None where no resample has an object."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        interval = "" if self.low is None else f" ({self.low:+.2f} to {self.high:+.2f})"
        return f"{self.value:+.2f}{interval}"


def figures_of(metric: str) -> dict[str, Conventions]:
    """The figures of a metric that are compared, and how each is computed: the main one last.

    Raises:
        UserError: the metric's figure cannot be resampled.
    """
    known = METRICS[metric]
    if known.conventions is None:
        choices = ", ".join(name for name, other in METRICS.items() if other.conventions is not None)
        raise UserError(f"metric={metric} knows no interval of its figure; choose one of {choices}")
    return {**({"AP50": COCO50} if metric == "coco" else {}), known.main: known.conventions}


def read_group(detectors: Sequence[Scored], opened: SplitOpener, resamples: int = RESAMPLES) -> Group:
    """The figures of detectors that differ in the seed alone.

    Raises:
        UserError: the data set is not at hand, or predictions.json is missing or of another evaluation.
    """
    found = [_resampled(detector, opened, resamples) for detector in detectors]
    names = [*figures_of(detectors[0].config.metric)]
    return Group(
        {name: [scores[name] for scores, _, _ in found] for name in names},
        {name: np.mean([values[name] for _, values, _ in found], axis=0) for name in names},
        found[0][2],
    )


def _resampled(
    detector: Scored, opened: SplitOpener, resamples: int
) -> tuple[dict[str, float], dict[str, Floats], str]:
    """A detector's figures of all pictures and of every resample, per cent, and the set's fingerprint."""
    data, file = detector.config.data, detector.folder / "predictions.json"
    dataset = opened(data, data.val)
    records: Any = read_json(file, "remove its folder, and run the command again")
    compared = Comparison(dataset, from_coco_records(records, dataset, str(file)), records)
    scores, values = {}, {}
    for name, how in figures_of(detector.config.metric).items():
        matches = class_matches(compared.matched(how))
        of_all, stated = mean_of(matches, how), detector.scores.get(name)
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


def difference(first: Group, second: Group, name: str) -> Difference:
    """How much higher a figure of the second is.

    Raises:
        UserError: they were scored on different pictures.
    """
    if first.fingerprint != second.fingerprint:
        raise UserError(
            "the detectors were scored by different metrics, or on different pictures or annotations, so "
            "that their differences mean nothing: remove the folders of the others, or choose another --out"
        )
    means = [statistics.mean(group.scores[name]) for group in (first, second)]
    values = second.resamples[name] - first.resamples[name]
    return Difference(means[1] - means[0], *interval_of(values, LEVEL))
