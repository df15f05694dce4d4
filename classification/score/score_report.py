"""What an evaluation leaves behind: a table for people, and files for programs and servers."""

import csv
import io
import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

from torch import Tensor

from classification.score.label_files import LabelFile, read_labels
from classification.score.outcomes import Outcomes, confusion, judge, summarise
from classification.score.score_files import Scores
from foundation.atomic_files import replace_atomically
from foundation.errors import UserError
from training.devices import is_main

ID_LINES = "lines such as 'n01440764 449 tench', as map_clsloc.txt of ImageNet's development kit"
LISTED = 40  # classes; of more the table names the worst
WORST = 10


@dataclass(frozen=True)
class Wanted:
    """What a report is to hold, read and checked before anything is scored.

    Attributes:
        out: folder of the files; None for none.
        labels: in place of the data set's.
        class_ids: numbers of the classes in submission.txt; None for no such file.
    """

    out: Path | None
    labels: LabelFile | None
    class_ids: list[str] | None

    @classmethod
    def read(
        cls, classes: list[str], out: Path | None, labels: Path | None, submission: Path | None
    ) -> "Wanted":
        """Reads the files; see `read_labels` and `read_class_ids` for the errors."""
        if submission is not None and out is None:
            raise UserError("--submission writes submission.txt to the folder of --out; give --out DIR")
        return cls(
            out,
            None if labels is None else read_labels(labels),
            None if submission is None else read_class_ids(submission, classes),
        )


def report(scores: Scores, wanted: Wanted) -> dict[str, Any]:
    """Errors and what is written of them: result.json, predictions.csv, confusion.csv, submission.txt.

    Returns:
        What result.json holds: how it was scored ("protocol" and so on), what `metrics.summarise` says, and
        the "most_confused" classes.
    Raises:
        UserError: the label file does not fit the pictures.
    """
    if wanted.labels is None:
        truth = [[label] if label >= 0 else [] for label in scores.labels.tolist()]
    else:
        truth = wanted.labels.match(scores.ids, scores.classes)
    outcomes = judge(scores.log_probabilities, truth)
    result: dict[str, Any] = {
        key: scores.about[key] for key in ("protocol", "scales", "members") if key in scores.about
    }
    if wanted.labels is not None:
        result["labels"] = str(wanted.labels.path)
    result |= summarise(outcomes, scores.classes)
    matrix = confusion(outcomes, len(scores.classes))
    if matrix is not None:
        result["most_confused"] = most_confused(matrix, scores.classes)
    if wanted.out is not None and is_main():
        write_files(wanted.out, scores, outcomes, matrix, wanted.class_ids)
        write_text(wanted.out / "result.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    return result


def write_files(
    out: Path, scores: Scores, outcomes: Outcomes, matrix: Tensor | None, class_ids: list[str] | None
) -> None:
    """Everything beside result.json."""
    write_predictions(out / "predictions.csv", scores.ids, outcomes, scores.classes)
    if matrix is not None:
        write_confusion(out / "confusion.csv", matrix, scores.classes)
    if class_ids is not None:
        write_submission(out / "submission.txt", scores.ids, outcomes, class_ids)


def write_text(path: Path, text: str) -> None:
    """The whole file or, at an error, what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_predictions(path: Path, ids: list[str], outcomes: Outcomes, classes: list[str]) -> None:
    """A CSV file: of each picture its id, its labels (joined by |), its best classes and probabilities."""
    kept = range(1, outcomes.best.shape[1] + 1)
    rows = [["id", "labels", *chain(*((f"class_{i}", f"probability_{i}") for i in kept))]]
    found = zip(ids, outcomes.truth, outcomes.best.tolist(), outcomes.probabilities.tolist(), strict=True)
    for name, truth, best, probabilities in found:
        pairs = [(classes[i], f"{p:.6g}") for i, p in zip(best, probabilities, strict=True)]
        rows.append([name, "|".join(classes[label] for label in truth), *chain(*pairs)])
    write_text(path, _csv(rows))


def write_confusion(path: Path, matrix: Tensor, classes: list[str]) -> None:
    """A CSV file: one row per label, one column per class a picture was taken for, numbers of pictures."""
    rows = [[name, *map(str, counts)] for name, counts in zip(classes, matrix.tolist(), strict=True)]
    write_text(path, _csv([["label", *classes], *rows]))


def _csv(rows: list[list[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def read_class_ids(path: Path, classes: list[str]) -> list[str]:
    """The number under which a server knows each class, from lines "<class> <number> …".

    ImageNet's development kit has them in map_clsloc.txt. They are not in the order of the folder names.

    Raises:
        UserError: there is no such file, or it has no number for a class.
    """
    if not path.is_file():
        raise UserError(f"--submission: no file {path.absolute()}; expected {ID_LINES}")
    words = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    numbers = {line[0]: line[1] for line in words if len(line) > 1 and line[1].isdigit()}
    for name in classes:
        if name not in numbers:
            raise UserError(
                f"--submission {path} has no line '{name} <number>'; give the file of these classes"
            )
    return [numbers[name] for name in classes]


def write_submission(path: Path, ids: list[str], outcomes: Outcomes, class_ids: list[str]) -> None:
    """ImageNet's format: a line per picture in order of file name, its five best classes, the best first."""
    order = sorted(range(len(ids)), key=lambda i: PurePath(ids[i]).name)
    lines = [" ".join(class_ids[i] for i in outcomes.best[row].tolist()) for row in order]
    write_text(path, "\n".join(lines) + "\n")


def most_confused(matrix: Tensor, classes: list[str]) -> list[dict[str, Any]]:
    """The pairs of classes that are taken for each other most often, at most `WORST`, the worst first."""
    wrong = matrix.clone().fill_diagonal_(0).flatten()
    cells = wrong.argsort(descending=True, stable=True)[:WORST].tolist()
    return [
        {
            "label": classes[i // len(classes)],
            "taken_for": classes[i % len(classes)],
            "pictures": int(wrong[i]),
        }
        for i in cells
        if wrong[i]
    ]


def describe(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    names = {"top1_error": "top-1 error, %", "top5_error": "top-5 error, %", "loss": "loss, nats"}
    rows = [(name, result["scores"][key]) for key, name in names.items() if key in result["scores"]]
    totals = len(rows)
    rows += [(f"  {name}", error) for name, error in _listed(result["class_top1_error"])]
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"{name:<{width}}  {'-' if value is None else f'{value:.2f}':>6}" for name, value in rows]
    return "\n".join(
        [*_protocol(result), *lines[:totals], *_heading(result), *lines[totals:], *_confusions(result)]
    )


def _protocol(result: dict[str, Any]) -> list[str]:
    name = result.get("protocol", "centre")
    if name == "dense":
        return [f"dense, short sides of {', '.join(map(str, result['scales']))} pixels and mirror images"]
    if name == "ensemble":
        return [f"mean of {len(result['members'])} files of scores"]
    return [] if name == "centre" else [name]


def _listed(errors: dict[str, float | None]) -> list[tuple[str, float | None]]:
    known = [pair for pair in errors.items() if pair[1] is not None]
    if len(errors) <= LISTED:
        return list(errors.items()) if known else []
    return sorted(known, key=lambda pair: pair[1] or 0, reverse=True)[:WORST]


def _heading(result: dict[str, Any]) -> list[str]:
    left_out = result.get("left_out", 0)
    counted = f"{result['pictures']} pictures in all" + (
        f", {left_out} without label left out" if left_out else ""
    )
    if not result["pictures"]:
        return [f"no errors: none of the {left_out} pictures has a label"]
    if len(result["class_top1_error"]) <= LISTED:
        return [f"top-1 error of each class, %, - where it has no picture ({counted}):"]
    return [f"top-1 error of the {WORST} worst classes, % ({counted}; result.json has every class):"]


def _confusions(result: dict[str, Any]) -> list[str]:
    pairs = result.get("most_confused", [])
    lines = [f"  {pair['pictures']:>5}  {pair['label']} → {pair['taken_for']}" for pair in pairs]
    return ["most frequent confusions (pictures, label → taken for):", *lines] if lines else []
