"""Paper / ours / difference: what the run folders hold, as Markdown and as JSON."""

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
from reproduction.published.table_rows import Row, Table
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

    def difference(self, name: str) -> float | None:
        """Our mean, or median where the paper prints one, minus the paper's number; None without both."""
        ours, paper = self.scores(name), self.row.scores.get(name)
        if not ours or paper is None:
            return None
        return (statistics.median(ours) if paper.median else statistics.mean(ours)) - paper.value


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
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def markdown_table(heading: Sequence[str], rows: Iterable[Sequence[str]], right: Container[int] = ()) -> str:
    """A table in Markdown; the columns of these numbers, from 0 on, are aligned to the right."""
    rule = ["---:" if number in right else "---" for number in range(len(heading))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, rule, *rows))


def markdown(number: str, table: Table, lines: Sequence[Line]) -> str:
    """The table as a report has it."""
    names = table.scores
    heading = ["network", "paper, %", "ours, %", "n", "difference", "training error, %", "steps (epochs)"]
    rows = markdown_table(heading, (_cells(line, names) for line in lines), right=range(1, 7))
    return f"**Table {number}.** {table.title} ({table.source}).\n\n{rows}\n\n{_notes(table, lines)}"


def _cells(line: Line, names: Sequence[str]) -> list[str]:
    row = line.row
    paper = " / ".join(str(row.scores.get(n, "–")) for n in names)
    printed = ", ".join(filter(None, [paper if row.scores else "", row.remark]))
    if row.config is None:
        return [row.label, printed, "not ours", "", "", "", ""]
    if not line.ended:
        return [row.label, printed, "not ended" if line.begun else "not run", "0", "", "", ""]
    errors = line.training_errors()
    steps, epoch = sorted({run.steps for run in line.ended}), epoch_steps(line.ended[0].config)
    lengths = [f"{n:,}" + (f" ({n / epoch:.1f})" if epoch else "") for n in (steps[0], steps[-1])]
    training = [spread(errors) if errors else "–", " to ".join(dict.fromkeys(lengths))]
    if not line.scores(names[0]):
        return [row.label, printed, "not scored", "0", "", *training]
    ours = " / ".join(spread(line.scores(n)) for n in names)
    differences = [line.difference(n) for n in names]
    difference = " / ".join("–" if value is None else f"{value:+.2f}" for value in differences)
    if line.changed and row.scores:
        difference = f"({difference}) not comparable"
    count = str(len(line.scores(names[0])))
    return [row.label, printed, ours, count, difference, *training]


PROTOCOLS = {
    "last": "the test error after the last step, never of the best evaluation",
    "ten-crop": "ten crops of last.safetensors, the weights after the last step",
    "dense": "last.safetensors, the weights after the last step, fully convolutional at several scales",
    None: "no run: the test server's answer alone would compare",
}


def _notes(table: Table, lines: Sequence[Line]) -> str:
    notes = [
        f"Ours: {PROTOCOLS[table.protocol]}; mean ± sample deviation over n seeds. Difference: our mean less "
        "the paper's number, of several runs their mean. Training error: mean over the last epoch, on "
        "augmented pictures, while the weights move."
    ]
    if any(printed.median for line in lines for printed in line.row.scores.values()):
        notes[0] += " Where the paper's number is a median, the difference is that of our median."
    bf16 = [x.row.label for x in lines if any(run.config.run.precision == "bf16" for run in x.ended)]
    if bf16:
        notes[0] += f" Computed in bf16: {', '.join(bf16)}."
    if changes := dict.fromkeys(change for line in lines for change in line.changed):
        notes += ["", "Not comparable with the paper, because it was not its recipe:"]
    for change in changes:
        notes.append(f"- {said(change)} ({', '.join(x.row.label for x in lines if change in x.changed)})")
    return "\n".join(notes)


def said(change: str) -> str:
    """A line of `Line.changed` for a reader: "`optim.lr` 0.05 instead of 0.1"."""
    key, _, values = change.partition(": ")
    recipe, _, ours = values.removesuffix(" now").partition(" before, ")
    return f"`{key}` {ours} instead of {recipe}"


def record(table: Table, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """All numbers behind the table, for table<number>.json."""
    return [
        {
            "label": line.row.label,
            "key": line.row.key,
            "ours": line.row.config is not None,
            "paper": {name: printed._asdict() for name, printed in line.row.scores.items()},
            "runs": [
                {
                    "folder": run.folder.name,
                    "seed": run.seed,
                    "steps": run.steps,
                    "epochs": run.steps / epoch if (epoch := epoch_steps(run.config)) else None,
                    "scores": run.scores,
                    "training_error": run.training_error,
                    "precision": run.config.run.precision,
                }
                for run in line.ended
            ],
            "not_ended": line.begun,
            "scores": {
                name: {
                    "n": len(values),
                    "mean": statistics.mean(values),
                    "deviation": statistics.stdev(values) if len(values) > 1 else None,
                    "difference": line.difference(name),
                }
                for name in table.scores
                if (values := line.scores(name))
            },
            "comparable": bool(line.ended) and not line.changed,
            "changed": line.changed,
        }
        for line in lines
    ]
