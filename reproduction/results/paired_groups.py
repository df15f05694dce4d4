"""Networks compared pair by pair over several seeds, on the same resamples of the pictures.

For each seed the same pictures are drawn with replacement, the figure of each drawing is averaged over the
seeds, and the interval is of the difference of two such means. So it speaks of the choice of pictures: what
is hard about a picture counts for neither. What another training would change, the deviation over the seeds
says.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from detection.metrics.bootstrap import interval_of
from detection.metrics.matching import Floats
from foundation.atomic_files import write_json, write_text
from foundation.errors import UserError
from reproduction.results.experiments import Column, Difference, Experiment, ExperimentRow, Score
from reproduction.results.provenance import Made

RESAMPLES, LEVEL, SEED = 1000, 0.95, 0
ABOUT = (
    f"In brackets stands the {100 * LEVEL:g} % interval of a difference over the choice of pictures: for "
    f"each seed the same {RESAMPLES:,} resamples of the pictures are drawn, the figure of each is averaged "
    "over the seeds, and the interval is of the difference of these means. What other trainings of the same "
    "recipe would change is not in it: the deviation over the seeds speaks of that."
)
# Of figures whose name does not say what they are of.
NAMES = {"AP50": "box AP50", "AP": "box AP", "segm/AP50": "mask AP50", "segm/AP": "mask AP"}


@dataclass(frozen=True)
class Group:
    """Networks that differ in the seed alone.

    Attributes:
        scores: per cent, of every seed by the name of the figure.
        resamples: (B,) per cent, the mean over the seeds of each resample of the pictures.
        fingerprint: of the metric, the pictures and their annotations.
    """

    scores: dict[str, list[float]]
    resamples: dict[str, Floats]
    fingerprint: str


def difference(first: Group, second: Group, name: str) -> Difference:
    """How much higher a figure of the second is.

    Raises:
        UserError: they were scored on different pictures.
    """
    if first.fingerprint != second.fingerprint:
        raise UserError(
            "the networks were scored by different metrics, or on different pictures or annotations, so "
            "that their differences mean nothing: remove the folders of the others, or choose another --out"
        )
    means = [statistics.mean(group.scores[name]) for group in (first, second)]
    values = second.resamples[name] - first.resamples[name]
    return Difference(means[1] - means[0], *interval_of(values, LEVEL))


def paired_experiment(
    what: str,
    groups: Mapping[str, Group],
    pairs: Sequence[tuple[str, str]],
    *,
    metric: str,
    steps: int,
    made: Made,
) -> Experiment:
    """The record of a comparison: a row for each group, then one for each pair, first less second.

    Args:
        what: the groups are, by whose names they are given, for instance "start".
        metric: of the figures.
        steps: of every training.
    Raises:
        UserError: as `difference`.
    """
    names = {name: NAMES.get(name, name) for name in next(iter(groups.values())).scores}
    rows = [
        ExperimentRow(
            labels={what: label},
            scores={
                shown: Score(values=tuple(round(value, 4) for value in group.scores[name]))
                for name, shown in names.items()
            },
        )
        for label, group in groups.items()
    ]
    rows += [
        ExperimentRow(
            labels={what: f"{one} less {other}"},
            between=(one, other),
            differences={
                shown: _rounded(difference(groups[other], groups[one], name)) for name, shown in names.items()
            },
        )
        for one, other in pairs
    ]
    figures = [Column(heading=f"{shown}, %", of=shown) for shown in names.values()]
    return Experiment(
        commands=tuple(filter(None, [made.command])),
        machine=made.machine,
        torch=made.torch,
        seeds=tuple(range(len(rows[0].scores[figures[0].of].values))),
        steps=steps,
        columns=(Column(heading=f"{what}, {metric}", of=what), *figures),
        rows=tuple(rows),
    )


def _rounded(found: Difference) -> Difference:
    """To the digits that scores have."""
    low, high = (None if end is None else round(end, 4) for end in (found.low, found.high))
    return Difference(round(found.value, 4), low, high)


def told(experiment: Experiment) -> str:
    """The table of a comparison and what its intervals mean, for people."""
    return f"{experiment.conditions}\n\n{experiment.markdown()}\n\n{ABOUT}"


def write_experiment(experiment: Experiment, folder: Path, name: str) -> None:
    """Writes <name>.json, a record for the page of results as it is, and <name>.md."""
    content = TypeAdapter(Experiment).dump_python(experiment, mode="json", exclude_defaults=True)
    write_json(folder / f"{name}.json", content, indent=1)
    write_text(folder / f"{name}.md", f"{told(experiment)}\n")
