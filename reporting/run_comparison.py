"""Several runs beside each other, and their paired differences: on the same pictures, picture by picture."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from classification.score.error_intervals import compare_errors
from detection.metrics.bootstrap import interval_of
from reporting.classifier_story import ClassifierRun, error_text
from reporting.detector_findings import LEVEL
from reporting.detector_story import DetectorRun
from reporting.page.page_parts import Note, Part, Section, Table
from reporting.page.svg_charts import interval_mark
from reporting.page.wording import figure, per_cent, signed, with_interval
from training.config import config_values

PAIRED = (
    "Both of a pair are scored on the same resamples of the pictures, so what is hard about a picture counts "
    "for neither. A difference whose 95 % interval does not hold zero is marked with *; of twenty such "
    "comparisons of equals one is marked by chance. Another training of the same recipe may differ by more: "
    "run several seeds."
)
ALL_PAIRS = 6  # runs, of which every pair is shown; of more, each with the first
CLASSES = 12  # in the table of differences by class
NOT_RECIPE = ("run.workers", "run.log_every", "run.checkpoint_every", "run.device")


def compare_detectors(runs: Sequence[DetectorRun], resamples: int) -> list[Section]:
    """Figures side by side, what differs in the recipes, and the paired differences of the main figure."""
    names = dict.fromkeys(name for run in runs for name in run.scores)
    rows = [[run.name, run.metric, *(_detector_score(run, name) for name in names)] for run in runs]
    sections = [_side_by_side(["run", "metric", *names], rows, text=(0, 1))]
    sections += _recipes({run.name: run.config for run in runs})
    differences, notes = [], []
    for first, second in _pairs(runs):
        if why := _why_no_detectors(first, second):
            notes.append(Note(f"{first.name} and {second.name} are not compared: {why}.", warning=True))
        else:
            differences.append((first, second))
    parts: list[Part] = []
    for name in dict.fromkeys(name for run in runs if run.truth is not None for name in run.truth.means):
        parts += _detector_pairs(differences, name)
    parts += [Note(PAIRED)] if parts else []
    if len(differences) == 1:
        parts += _by_class(*differences[0])
    return [*sections, Section("Paired differences", [*parts, *notes])]


def _detector_score(run: DetectorRun, name: str) -> str:
    value = per_cent(run.scores.get(name))
    return with_interval(value, *map(per_cent, run.intervals[name])) if name in run.intervals else value


def _why_no_detectors(first: DetectorRun, second: DetectorRun) -> str:
    """Why two cannot be compared; "" where they can."""
    if first.metric != second.metric:
        return f"the metrics are {first.metric} and {second.metric}"
    for run in (first, second):
        if run.truth is None:
            return f"of {run.name} the predictions or the data set are not at hand, as its own part says"
    assert first.truth is not None and second.truth is not None
    if first.truth.fingerprint != second.truth.fingerprint or first.truth.classes != second.truth.classes:
        return "they were scored on different pictures or annotations"
    return ""


def _detector_pairs(pairs: Sequence[tuple[DetectorRun, DetectorRun]], name: str) -> list[Part]:
    """The differences of one figure, of the pairs in which both have it."""
    found = []
    for first, second in pairs:
        a, b = first.truth, second.truth
        assert a is not None and b is not None
        if name in a.means and name in b.means:
            low, high = interval_of(b.resamples[name] - a.resamples[name], LEVEL)
            found.append((f"{second.name} less {first.name}", b.means[name] - a.means[name], low, high))
    return [_difference_table(["pair", f"difference of {name}, points"], found)] if found else []


def _by_class(first: DetectorRun, second: DetectorRun) -> list[Part]:
    """The classes whose AP differs most, of one pair."""
    a, b = first.truth, second.truth
    assert a is not None and b is not None
    found = [
        (
            name,
            b.class_figures[i] - a.class_figures[i],
            *interval_of(b.class_resamples[i] - a.class_resamples[i], LEVEL),
        )
        for i, name in enumerate(a.classes)
    ]
    found = sorted(found, key=lambda row: -abs(row[1]))[:CLASSES]
    return [_difference_table([f"class, {second.name} less {first.name}", "difference of AP, points"], found)]


def _difference_table(
    heading: list[str], found: Sequence[tuple[str, float, float | None, float | None]]
) -> Table:
    """Differences 0…1 with their intervals, drawn on one scale that holds zero."""
    ends = [100 * abs(value) for _, *values in found for value in values if value is not None]
    limit = max([*ends, 1e-9])
    rows = []
    for name, value, low, high in found:
        scaled = 100 * value, None if low is None else 100 * low, None if high is None else 100 * high
        text = with_interval(*map(signed, scaled))
        clear = low is not None and high is not None and (low > 0 or high < 0)
        rows.append(
            [
                name,
                text,
                "*" if clear else "",
                interval_mark(scaled[0], scaled[1], scaled[2], (-limit, limit)),
            ]
        )
    return Table([*heading, "", f"{figure(-limit)} to {figure(limit)}"], rows)


def compare_classifiers(runs: Sequence[ClassifierRun], resamples: int) -> list[Section]:
    """Errors side by side, what differs in the recipes, and the paired differences of the top-1 error."""
    names = dict.fromkeys(name for run in runs for name in run.scores)
    rows = [
        [
            run.name,
            *(
                error_text(run.scores.get(name), run.pictures)
                if name.endswith("_error")
                else figure(run.scores.get(name), 3)
                for name in names
            ),
        ]
        for run in runs
    ]
    sections = [_side_by_side(["run", *(name.replace("_", " ") for name in names)], rows)]
    sections += _recipes({run.name: run.config for run in runs})
    found, counts, notes = [], [], []
    for first, second in _pairs(runs):
        if why := _why_no_classifiers(first, second):
            notes.append(Note(f"{first.name} and {second.name} are not compared: {why}.", warning=True))
            continue
        assert first.answers is not None and second.answers is not None
        paired = compare_errors(first.answers.wrong, second.answers.wrong, resamples=resamples)
        pair = f"{second.name} less {first.name}"
        found.append((pair, paired.difference, paired.low, paired.high))
        only = [f"{paired.only_first:,}", f"{paired.only_second:,}"]
        counts.append([pair, *only, f"{paired.p_value:.2g}"])
    parts: list[Part] = []
    if found:
        heading = ["pair", "wrong by the second alone", "by the first alone", "p"]
        flipped = [[pair, second, first, p] for pair, first, second, p in counts]
        parts = [
            _difference_table(["pair", "difference of the top-1 error, points"], found),
            Note(PAIRED),
            Table(heading, flipped, caption="Pictures that only one of the two gets wrong (McNemar's test)"),
        ]
    return [*sections, Section("Paired differences", [*parts, *notes])]


def _why_no_classifiers(first: ClassifierRun, second: ClassifierRun) -> str:
    """Why two cannot be compared; "" where they can."""
    for run in (first, second):
        if run.answers is None:
            return f"what {run.name} says of each picture is not known before {run.remedy}"
    assert first.answers is not None and second.answers is not None
    if (first.answers.ids, first.answers.labels) != (second.answers.ids, second.answers.labels):
        return "they were scored on different pictures or labels"
    return ""


def _pairs(runs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Every pair of a few runs; of many, each with the first."""
    return combinations(runs, 2) if len(runs) <= ALL_PAIRS else ((runs[0], run) for run in runs[1:])


def _side_by_side(
    heading: Sequence[str], rows: Sequence[Sequence[str]], text: Sequence[int] = (0,)
) -> Section:
    return Section(
        "Side by side",
        [Table(heading, rows, text=text), Note("In %, with 95 % intervals over the choice of pictures.")],
    )


def _recipes(configs: Mapping[str, Any]) -> list[Section]:
    """The keys of the configurations that are not the same in all."""
    known = {name: config_values(config) for name, config in configs.items() if config is not None}
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
