"""A table of a paper as data: its rows, what it prints of each, and what trains them here."""

from dataclasses import dataclass
from typing import NamedTuple

HE_2015 = "He et al. 2015"
HE_2016 = "He et al. 2016, Identity mappings"


class Printed(NamedTuple):
    """A number as a table has it."""

    value: float  # of one run, or the mean of several
    deviation: float | None = None  # of several runs, None for one
    best: float | None = None  # of several runs, where that is printed too
    median: bool = False  # whether the value is the median of several runs instead

    def __str__(self) -> str:
        mean = f"{self.value:.2f}" if self.deviation is None else f"{self.value:.2f} ± {self.deviation:.2f}"
        return mean if self.best is None else f"{mean} (best {self.best:.2f})"


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    label: str  # as printed
    scores: dict[str, Printed]  # by the names of our result.json
    network: str | None = None  # as `backbones.create_model` takes it, None for what is not built here
    option: str | None = None  # of its shortcuts or units, where the table tells options apart
    config: str | None = None  # stem of the file in `configs/` that trains it; None: another's result
    parameters: float | None = None  # in millions, where the table has them
    remark: str = ""  # what the paper says instead of a number
    settings: tuple[str, ...] = ()  # "section.key=value" beside the file

    @property
    def key(self) -> str:
        """Names its runs and stands in `--rows`; equal rows of two tables share it, and so their runs."""
        return f"{self.network or self.label}-{self.option}" if self.option else self.network or self.label


@dataclass(frozen=True)
class Table:
    """A table of a paper.

    A network's `protocol` is "last" for the score at the end of training, or one of
    `classification.score.weight_evaluation.score_weights`; None: not scored here.
    """

    title: str
    source: str  # paper, number, section
    scores: tuple[str, ...]  # the names of its columns in our result.json
    protocol: str | None
    rows: tuple[Row, ...]  # those without numbers belong to the figure of the same runs
