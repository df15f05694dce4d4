"""The record of an experiment that is no table of a paper: what was run where, and a table of its figures."""

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from reproduction.tables import deviation_of, markdown_table, mean_and_deviation


@dataclass(frozen=True, kw_only=True)
class Score:
    """A figure over the seeds: the value of each where these are known, else what is known of them.

    Attributes:
        values: of the seeds, in their order; of what has one value for all of them, that alone.
        mean, deviation, n: over n seeds, where `values` is empty.
    """

    values: tuple[float, ...] = ()
    mean: float | None = None
    deviation: float | None = None
    n: int | None = None

    def __post_init__(self) -> None:
        summary = (self.mean, self.deviation, self.n)
        if (self.values and summary != (None, None, None)) or (not self.values and None in summary):
            raise ValueError("expected either values, or mean, deviation and n")

    @property
    def centre(self) -> float:
        """The mean."""
        return statistics.mean(self.values) if self.mean is None else self.mean

    def cell(self, digits: int) -> str:
        """Mean ± deviation."""
        deviation = deviation_of(self.values) if self.values else self.deviation
        return mean_and_deviation(self.centre, deviation, digits)


@dataclass(frozen=True)
class Difference:
    """A paired difference of two means and its 95 % interval, percentage points, see `paired_groups`.

    The interval is None where no resample has an object.
    """

    value: float
    low: float | None
    high: float | None

    def cell(self, digits: int) -> str:
        """As "+0.5 (−0.1 to +1.0)"."""
        value = signed(self.value, digits)
        if self.low is None or self.high is None:
            return value
        return f"{value} ({signed(self.low, digits)} to {signed(self.high, digits)})"


@dataclass(frozen=True, kw_only=True)
class ExperimentRow:
    """What was compared with the other rows.

    Attributes:
        labels: what tells the row from the others, and facts beside the scores, by their names.
        scores: by their names; what was not run is left out.
        less_the_row_before, less_the_first_row: measured differences, by the names of their scores.
        between: of a row that shows how much higher the scores of one row are than those of another: a label
            that the one row alone has, and one that the other alone has.
        differences: of a row `between` two others, by the names of their scores.
    """

    labels: dict[str, str | int | float]
    scores: dict[str, Score] = field(default_factory=dict)
    less_the_row_before: dict[str, Difference] = field(default_factory=dict)
    less_the_first_row: dict[str, Difference] = field(default_factory=dict)
    between: tuple[str, str] | None = None
    differences: dict[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table.

    Attributes:
        of: a label or a score of the rows.
        less: the column has the score's difference from that of the row before, of the first row, or from
            another score of the same row, which is named here.
        divided_by: a label is shown divided by this, as steps by those of an epoch.
        digits: behind the point, of scores, differences and quotients; labels are shown as they are.
        best: which score stands in bold.
    """

    heading: str
    of: str
    less: str | None = None
    divided_by: float | None = None
    digits: int = 1
    best: Literal["lowest", "highest"] | None = None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What docs/results.md says of an experiment, but for its prose.

    Attributes:
        commands: as given in the repository's root.
        machine, torch: where it ran, and the release of torch; null where that is not known.
        seeds: of each row, if nothing else is said.
        steps: of each training, if all have the same number.
    """

    commands: tuple[str, ...]
    machine: str | None
    torch: str | None
    seeds: tuple[int, ...]
    steps: int | None = None
    columns: tuple[Column, ...]
    rows: tuple[ExperimentRow, ...]

    def __post_init__(self) -> None:
        for column in self.columns:
            for name in filter(None, (column.of, _other_score(column))):
                if not any(name in row.labels or name in row.scores for row in self.rows):
                    raise ValueError(f"columns: {column.heading!r} is of {name!r}, which no row has")
        known = {name for column in self.columns for name in (column.of, column.less)}
        for number, row in enumerate(self.rows):
            measured = (*row.less_the_row_before, *row.less_the_first_row, *row.differences)
            for name in (*row.labels, *row.scores, *measured):
                if name not in known:
                    raise ValueError(f"rows.{number}: {name!r} stands in no column")
            for column in self.columns:
                self._refuse_slip(column, number)

    def _refuse_slip(self, column: Column, number: int) -> None:
        """Measured differences are those of the means; each of the three figures may be rounded."""
        found = self._difference(column, number)
        if found is not None:
            ours, other = self._pair(column, number)
            if ours is None or other is None:
                raise ValueError(f"rows.{number}: a difference of {column.of!r}, but not both scores")
            off = ours - other
            if abs(off - found.value) > 1.5 * 10**-column.digits + 1e-9:
                between = self.rows[number].between
                named = f"the {column.less}" if column.less else repr(between and between[1])
                raise ValueError(
                    f"rows.{number}: {column.of} less that of {named} is {found.value:g}, "
                    f"but {off:.{column.digits}f} by the means"
                )

    def _difference(self, column: Column, number: int) -> Difference | None:
        """The measured one that stands in a cell."""
        row = self.rows[number]
        stated = {"row before": row.less_the_row_before, "first row": row.less_the_first_row}
        return (stated.get(column.less, {}) if column.less else row.differences).get(column.of)

    def _pair(self, column: Column, number: int) -> tuple[float | None, float | None]:
        """The means whose difference stands in a cell; None of what has none."""
        row = self.rows[number]
        if column.less is None:
            one, other = (self.means.get((label, column.of)) for label in row.between or ("", ""))
            return one, other
        found = row.scores.get(column.of), self._compared(column, number)
        one, other = (None if score is None else score.centre for score in found)
        return one, other

    def _compared(self, column: Column, number: int) -> Score | None:
        """The score that a row's is compared with."""
        rows = {"row before": self.rows[max(number - 1, 0)], "first row": self.rows[0]}
        other = rows.get(str(column.less))
        if other is None:
            return self.rows[number].scores.get(str(column.less))
        return other.scores.get(column.of)

    @property
    def conditions(self) -> str:
        """Where and how often it was run."""
        seeds = f"seed{'s' * (len(self.seeds) > 1)} {', '.join(map(str, self.seeds))}"
        steps = [] if self.steps is None else [f"{self.steps:,} steps"]
        return "; ".join([place(self.machine, self.torch), seeds, *steps]) + "."

    @property
    def means(self) -> dict[tuple[str, str], float]:
        """Of each score, by a label that its row alone has and the score's name."""
        counts = Counter(str(label) for row in self.rows for label in row.labels.values())
        return {
            (str(label), name): score.centre
            for row in self.rows
            for label in row.labels.values()
            if counts[str(label)] == 1
            for name, score in row.scores.items()
        }

    def markdown(self) -> str:
        """The table."""
        cells = [[self._cell(column, number) for column in self.columns] for number in range(len(self.rows))]
        for place, column in enumerate(self.columns):
            if column.best:
                means = [
                    row.scores[column.of].centre if column.of in row.scores else None for row in self.rows
                ]
                known = [mean for mean in means if mean is not None]
                best = means.index(max(known) if column.best == "highest" else min(known))
                cells[best][place] = f"**{cells[best][place]}**"
        texts = {place for place, column in enumerate(self.columns) if self._is_text(column)}
        right = set(range(len(self.columns))) - texts
        return markdown_table([column.heading for column in self.columns], cells, right)

    def _is_text(self, column: Column) -> bool:
        return any(isinstance(row.labels.get(column.of), str) for row in self.rows)

    def _cell(self, column: Column, number: int) -> str:
        row = self.rows[number]
        if column.of in row.labels:
            return _label(row.labels[column.of], column)
        if (found := self._difference(column, number)) is not None:
            return found.cell(column.digits)
        if column.less is None:
            missing = "" if row.between else "not run"
            return row.scores[column.of].cell(column.digits) if column.of in row.scores else missing
        other = self._compared(column, number)
        if _other_score(column) and other is not None and column.of in row.scores:
            return signed(row.scores[column.of].centre - other.centre, column.digits)
        return ""


def _other_score(column: Column) -> str | None:
    """The score of the same row that a column's is compared with."""
    return None if column.less in ("row before", "first row") else column.less


def _label(value: str | int | float, column: Column) -> str:
    if isinstance(value, str):
        return value
    if column.divided_by is not None:
        return f"{value / column.divided_by:.{column.digits}f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def signed(value: float, digits: int) -> str:
    """With its sign, and a minus as long as the plus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def place(machine: str | None, torch: str | None) -> str:
    """Where something was run, without a full stop."""
    return f"Machine: {machine or 'not known'}; torch {torch or 'of a release that is not known'}"
