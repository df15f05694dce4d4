"""What comparisons of every kind of runs are made of: figures side by side, recipes, curves, differences."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Protocol, TypeVar

from classification.score.error_intervals import compare_errors
from detection.metrics.matching import Flags
from reporting.learning_curves import Entries, draw_together
from reporting.page.page_parts import Note, Part, Section, Table
from reporting.page.svg_charts import interval_mark
from reporting.page.wording import figure, share_with_interval, signed, with_interval
from reporting.picture_intervals import Intervals, Resampled, interval
from training.config import config_values

PAIRED = (
    "Both of a pair are scored on the same resamples of the pictures, so what is hard about a picture counts "
    "for neither. A difference whose 95 % interval does not hold zero is marked with *; of twenty such "
    "comparisons of equals one is marked by chance. Another training of the same recipe may differ by more: "
    "run several seeds."
)
DIFFERENT = "they were scored on different pictures, annotations or classes"
ALL_PAIRS = 6  # runs, of which every pair is shown; of more, each with the first
CLASSES = 12  # in the table of differences by class
NOT_RECIPE = ("run.workers", "run.log_every", "run.checkpoint_every", "run.device")


class Run(Protocol):
    """What is asked of runs of every kind.

    `config` is None where it is not known, and `entries` are those of metrics.jsonl, none of an evaluation.
    """

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> Any: ...

    @property
    def entries(self) -> Entries: ...


class ScoredRun(Run, Protocol):
    """A run whose scores are 0…1, with the intervals that are known."""

    @property
    def scores(self) -> Mapping[str, float | None]: ...

    @property
    def intervals(self) -> Intervals: ...


class ResampledRun(Run, Protocol):
    """A run whose figures were computed on resamples of the pictures, where these are at hand."""

    @property
    def resampled(self) -> Resampled | None: ...


AnyRun = TypeVar("AnyRun", bound=Run)
AnyResampledRun = TypeVar("AnyResampledRun", bound=ResampledRun)
Apart = Callable[[AnyRun, AnyRun], str]  # why two runs' figures are not compared; "" where they are


def score_columns(runs: Sequence[ScoredRun], names: Mapping[str, str]) -> dict[str, list[str]]:
    """All scores in per cent with their intervals, a text for each run, by their names in words."""
    return {
        names.get(name, name): [
            share_with_interval(run.scores.get(name), run.intervals.get(name)) for run in runs
        ]
        for name in dict.fromkeys(name for run in runs for name in run.scores)
    }


def side_by_side(
    runs: Sequence[AnyRun],
    columns: Mapping[str, Sequence[str]],
    main: str,
    values: Sequence[float | None],
    apart: Apart[AnyRun],
) -> Section:
    """A row for each run, and behind the main figure its difference to the first run's.

    Args:
        columns: by their titles, a text for each run.
        main: title of the main figure's column.
        values: the main figures, per cent.
        apart: of runs of other data there is no difference.
    """
    differences = [signed(_less(value, values[0])) for value in values]
    known = ["" if apart(runs[0], run) else text for run, text in zip(runs, differences, strict=True)]
    shown = {"run": [run.name for run in runs]}
    for title, texts in columns.items():
        shown[title] = [*texts]
        if title == main:
            shown[f"less {runs[0].name}, points"] = ["", *known[1:]]
    text = [place for place, title in enumerate(shown) if title in ("run", "metric")]
    note = Note("In %, with 95 % intervals over the choice of pictures.")
    return Section("Side by side", [Table([*shown], [*zip(*shown.values(), strict=True)], text=text), note])


def _less(value: float | None, first: float | None) -> float | None:
    return None if value is None or first is None else value - first


def recipes(runs: Sequence[Run]) -> list[Section]:
    """The keys of the configurations that are not the same in all."""
    known = {run.name: config_values(run.config) for run in runs if run.config is not None}
    if len(known) < 2:
        return []
    keys = dict.fromkeys(key for values in known.values() for key in values if key not in NOT_RECIPE)
    rows = [
        [key, *(_value(values.get(key, "")) for values in known.values())]
        for key in keys
        if len({_value(values.get(key, "")) for values in known.values()}) > 1
    ]
    if not rows:
        return [Section("What differs", [Note("Nothing in the configurations.")])]
    return [Section("What differs", [Table(["key", *known], rows, text=range(len(known) + 1))])]


def _value(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def curves(runs: Sequence[Run], score: str) -> list[Section]:
    """The learning curves of all trainings in the same charts; see `draw_together`."""
    charts = draw_together({run.name: run.entries for run in runs}, score)
    return [Section("Curves", charts)] if charts else []


def pair_up(runs: Sequence[AnyRun], apart: Apart[AnyRun]) -> tuple[list[tuple[AnyRun, AnyRun]], list[Note]]:
    """Every pair of a few runs, of many each with the first, and a warning for each that is not compared."""
    pairs, notes = [], []
    several = combinations(runs, 2) if len(runs) <= ALL_PAIRS else ((runs[0], run) for run in runs[1:])
    for first, second in several:
        if why := apart(first, second):
            notes.append(Note(f"{first.name} and {second.name} are not compared: {why}.", warning=True))
        else:
            pairs.append((first, second))
    return pairs, notes


def paired_differences(parts: Sequence[Part], notes: Sequence[Note]) -> Section:
    """The section of them, with what they mean, and what was not compared."""
    return Section("Paired differences", [*parts, *([Note(PAIRED)] if parts else []), *notes])


def less(first: Run, second: Run) -> str:
    """What the difference of a pair is called in tables."""
    return f"{second.name} less {first.name}"


def difference_table(
    heading: Sequence[str], found: Sequence[tuple[str, float, float | None, float | None]]
) -> Table:
    """Differences 0…1 with their intervals, drawn on one scale that holds zero."""
    ends = [100 * abs(value) for _, *values in found for value in values if value is not None]
    limit = max([*ends, 1e-9])
    rows = []
    for name, value, low, high in found:
        scaled = 100 * value, None if low is None else 100 * low, None if high is None else 100 * high
        text = with_interval(*map(signed, scaled))
        clear = low is not None and high is not None and (low > 0 or high < 0)
        mark = interval_mark(scaled[0], scaled[1], scaled[2], (-limit, limit))
        rows.append([name, text, "*" if clear else "", mark])
    return Table([*heading, "", f"{figure(-limit)} to {figure(limit)}"], rows)


def other_data(first: ResampledRun, second: ResampledRun) -> str:
    """Says so where two runs are known to have been scored on different data."""
    if first.resampled is None or second.resampled is None:
        return ""
    return "" if first.resampled.same_pictures(second.resampled) else DIFFERENT


def resampled_differences(
    pairs: Sequence[tuple[AnyResampledRun, AnyResampledRun]], of_class: str
) -> list[Part]:
    """The differences of each figure, of the pairs in which both have it; of a single pair also by class.

    Args:
        of_class: what the figure of a class is called.
    """
    known = [
        (less(first, second), first.resampled, second.resampled)
        for first, second in pairs
        if first.resampled is not None and second.resampled is not None
    ]
    parts: list[Part] = []
    for name in dict.fromkeys(name for _, a, b in known for name in a.means if name in b.means):
        found = [
            (pair, b.means[name] - a.means[name], *interval(b.resamples[name] - a.resamples[name]))
            for pair, a, b in known
            if name in a.means and name in b.means
        ]
        parts.append(difference_table(["pair", f"difference of {name}, points"], found))
    return parts + ([_by_class(*known[0], of_class)] if len(known) == 1 else [])


def _by_class(pair: str, a: Resampled, b: Resampled, of_class: str) -> Table:
    """The classes whose figure differs most."""
    differences = (b.class_figures - a.class_figures).tolist()
    resamples = b.class_resamples - a.class_resamples
    found = [
        (name, difference, *interval(values))
        for name, difference, values in zip(a.classes, differences, resamples, strict=True)
        if not math.isnan(difference)  # both have a figure of the class
    ]
    found = sorted(found, key=lambda row: -abs(row[1]))[:CLASSES]
    return difference_table([f"class, {pair}", f"difference of {of_class}, points"], found)


def error_differences(found: Sequence[tuple[str, Flags, Flags]], name: str, resamples: int) -> list[Part]:
    """The differences of an error, and on how many pictures each of a pair is wrong alone.

    Args:
        found: of each pair its name, and which pictures (N,) the first and the second get wrong.
        name: of the error.
    """
    if not found:
        return []
    differences, counts = [], []
    for pair, first, second in found:
        paired = compare_errors(first, second, resamples=resamples)
        differences.append((pair, paired.difference, paired.low, paired.high))
        only = f"{paired.only_second:,}", f"{paired.only_first:,}"
        counts.append([pair, *only, f"{paired.p_value:.2g}"])
    heading = ["pair", "wrong by the second alone", "by the first alone", "p"]
    caption = "Pictures that only one of the two gets wrong (McNemar's test)"
    return [
        difference_table(["pair", f"difference of the {name}, points"], differences),
        Table(heading, counts, caption=caption),
    ]
