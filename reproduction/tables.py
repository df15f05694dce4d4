"""What run folders hold of a table's rows, and the cells of tables in Markdown."""

import json
import logging
import statistics
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from classification.config import PretrainConfig
from classification.score.weight_evaluation import score_weights
from foundation.errors import UserError
from foundation.file_reading import readable
from reproduction.curves import Curves, epoch_steps, read_curves
from reproduction.published.table_rows import Row
from reproduction.runs import folders, row_config
from training.config import differences, dump_config, load_config
from training.devices import broadcast_object

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """A run that came to its end."""

    seed: int
    folder: Path
    config: PretrainConfig
    scores: dict[str, float]  # per cent, by the paper's protocol; empty if that was not applied yet
    steps: int
    curves: Curves
    training_error: float | None  # mean over the last epoch, per cent; None if it was not reported


@dataclass(frozen=True)
class Line:
    """A row of the paper beside our runs of it."""

    row: Row
    ended: list[Ended]
    begun: int  # runs that have not ended
    changed: list[str]  # how ours differ from the paper's recipe: "key: paper's before, ours now"

    def scores(self, name: str) -> list[float]:
        """Of every seed, per cent."""
        return [run.scores[name] for run in self.ended if name in run.scores]

    def training_errors(self) -> list[float]:
        """Of every seed, per cent."""
        return [run.training_error for run in self.ended if run.training_error is not None]


def read_line(row: Row, protocol: str | None, out: Path, *, score: bool = False) -> Line:
    """What is below `out` of a row.

    Args:
        protocol: of the table.
        score: apply it to ended runs that it was not applied to yet; needs their data.
    Raises:
        UserError: two seeds were trained by different configurations.
    """
    found = folders(row, out) if row.config else {}
    finished = {seed: folder for seed, folder in found.items() if (folder / "result.json").is_file()}
    ended = [read_run(seed, folder, protocol, score=score) for seed, folder in finished.items()]
    refuse_mixture(ended, recipe_changes)
    changed = recipe_changes(row_config(row), ended[0].config) if ended else []
    return Line(row, ended, len(found) - len(ended), changed)


def recipe_changes(before: PretrainConfig, now: PretrainConfig) -> list[str]:
    """`training.config.differences` in what is learnt: without seed, execution and the place of CIFAR-10."""
    deciding = {
        "data.root": now.data.kind == "folder",  # there it may be another data set
        "run.early_stop": True,
        "run.eval_every": now.schedule.kind == "plateau" or now.run.early_stop is not None,
        "run.log_every": now.schedule.warmup == "error",  # the reports end the warm-up
    }
    changes = {line.partition(":")[0]: line for line in differences(dump_config(before), dump_config(now))}
    return [line for key, line in changes.items() if deciding.get(key, not key.startswith("run."))]


def read_run(seed: int, folder: Path, protocol: str | None, *, score: bool) -> Ended:
    """A run that has ended; its score is that of the last step, never of the best evaluation."""
    config = load_config(PretrainConfig, folder / "config.yaml")
    scores, step = _read_result(folder / "result.json", "scores", "step")
    if protocol not in (None, "last"):
        scores = protocol_scores(folder, str(protocol), score=score)
    curves = read_curves(folder / "metrics.jsonl")
    final = curves.final_training_error(epoch_steps(config) or config.run.eval_every)
    return Ended(seed, folder, config, scores, step, curves, final)


def _read_result(file: Path, *names: str) -> list[Any]:
    with readable(file, "remove it with its folder, and run the command again"):
        result = json.loads(file.read_bytes())
        return [result[name] for name in names]


def protocol_scores(folder: Path, protocol: str, *, score: bool) -> dict[str, float]:
    """The scores of last.safetensors by "ten-crop" or "dense", kept in a folder of that name in the run's."""
    kept, weights = folder / protocol / "result.json", folder / "last.safetensors"
    known = kept.is_file() and kept.stat().st_mtime_ns >= weights.stat().st_mtime_ns
    if score:  # all processes score, or none
        known = broadcast_object(known)
    if known or not score:
        return _read_result(kept, "scores")[0] if known else {}
    logger.info("scoring %s by %s", weights, protocol)
    return score_weights(weights, [], kept.parent, protocol=protocol)["scores"]


class Configured(Protocol):
    """A run with the folder it lies in."""

    @property
    def folder(self) -> Path: ...
    @property
    def config(self) -> Any: ...


def refuse_mixture(runs: Sequence[Configured], changes: Callable[[Any, Any], list[str]]) -> None:
    """Runs of one row must differ in the seed alone, for their mean to mean something.

    Args:
        changes: what differs between two configurations, but for the seed and execution.
    """
    for run in runs[1:]:
        if changed := changes(runs[0].config, run.config):
            lines = "\n  ".join(changed)
            raise UserError(
                f"{runs[0].folder} and {run.folder} were made with different configurations:\n  {lines}\n"
                "their mean would be of no recipe; move one of them elsewhere"
            )


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± sample deviation; one value has no deviation."""
    return mean_and_deviation(statistics.mean(values), deviation_of(values), digits)


def deviation_of(values: Sequence[float]) -> float | None:
    """The sample deviation; None of one value."""
    return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Summary:
    """A score over n seeds, per cent, as a report's record holds it."""

    n: int
    mean: float
    deviation: float | None  # of the sample; None of one seed
    difference: float | None  # of ours from the paper's number; None without that


def summarise(ours: Sequence[float], difference: float | None) -> Summary:
    """A score of every seed in short."""
    return Summary(len(ours), statistics.mean(ours), deviation_of(ours), difference)


def mean_and_deviation(mean: float, deviation: float | None, digits: int = 2) -> str:
    """Both in a cell, or the mean alone."""
    text = f"{mean:.{digits}f}"
    return text if deviation is None else f"{text} ± {deviation:.{digits}f}"


def markdown_table(heading: Sequence[str], rows: Iterable[Sequence[str]], right: Container[int] = ()) -> str:
    """A table in Markdown; the columns of these numbers, from 0 on, are aligned to the right."""
    rule = ["---:" if number in right else "---" for number in range(len(heading))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, rule, *rows))


def said(change: str) -> str:
    """A line of `Line.changed` for a reader: "`optim.lr` 0.05 instead of 0.1"."""
    key, _, values = change.partition(": ")
    recipe, _, ours = values.removesuffix(" now").partition(" before, ")
    return f"`{key}` {ours} instead of {recipe}"
