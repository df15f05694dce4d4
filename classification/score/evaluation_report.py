"""What an evaluation leaves behind: a table for people, and files for programs and servers."""

import csv
import io
import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

from torch import Tensor

from classification.score.classifier_errors import Outcomes, confusion, judge, summarise
from classification.score.label_files import LabelFile, read_labels
from classification.score.saved_scores import Scores
from foundation.atomic_files import write_text
from foundation.errors import UserError
from foundation.file_naming import printable
from foundation.file_reading import read_text
from training.devices import is_main

ID_LINES = "lines such as 'n01440764 449 tench', as map_clsloc.txt of ImageNet's development kit"
LISTED = 40  # classes; of more the table names the worst
WORST = 10


@dataclass(frozen=True)
class ReportRequest:
    """What a report is to hold, read and checked before anything is scored."""

    out: Path | None  # folder of the files; None for none
    labels: LabelFile | None  # in place of the data set's
    class_ids: list[str] | None  # numbers of the classes in submission.txt; None for no such file

    @classmethod
    def read(
        cls, classes: list[str], out: Path | None, labels: Path | None, submission: Path | None
    ) -> "ReportRequest":
        """Reads the files; see `read_labels` and `read_class_ids` for the errors."""
        if submission is not None and out is None:
            raise UserError("--submission writes submission.txt to the folder of --out; give --out DIR")
        return cls(
            out,
            None if labels is None else read_labels(labels),
            None if submission is None else read_class_ids(submission, classes),
        )


def report(scores: Scores, request: ReportRequest) -> dict[str, Any]:
    """Errors and what is written of them: result.json, predictions.csv, confusion.csv, submission.txt.

    Returns:
        What result.json holds: how it was scored ("protocol" and so on), what `summarise` gives, and the
        "most_confused" classes.
    Raises:
        UserError: the label file does not fit the pictures.
    """
    kept = ("protocol", "scales", "members")
    result: dict[str, Any] = {key: scores.about[key] for key in kept if key in scores.about}
    if request.labels is None:
        truth = [[label] if label >= 0 else [] for label in scores.labels.tolist()]
    else:
        truth = request.labels.match(scores.ids, scores.classes)
        result["labels"] = str(request.labels.path)
    outcomes = judge(scores.log_probabilities, truth)
    result |= summarise(outcomes, scores.classes)
    matrix = confusion(outcomes, len(scores.classes))
    if matrix is not None:
        result["most_confused"] = most_confused(matrix, scores.classes)
    if request.out is not None and is_main():
        (request.out / "result.json").unlink(missing_ok=True)  # written last, it is of what lies beside it
        write_predictions(request.out / "predictions.csv", scores.ids, outcomes, scores.classes)
        if matrix is not None:
            write_confusion(request.out / "confusion.csv", matrix, scores.classes)
        if request.class_ids is not None:
            write_submission(request.out / "submission.txt", scores.ids, outcomes, request.class_ids)
        # With what it is of, for a report of the folder.
        of = {key: scores.about[key] for key in ("weights", "sha256", "data") if key in scores.about}
        text = json.dumps({**result, "evaluated": of}, indent=1, allow_nan=False)
        write_text(request.out / "result.json", text + "\n")
    return result


def write_predictions(path: Path, ids: list[str], outcomes: Outcomes, classes: list[str]) -> None:
    """A CSV file: of each picture its id, its labels (joined by |), its best classes and probabilities."""
    kept = range(1, outcomes.best.shape[1] + 1)
    rows = [["id", "labels", *chain(*((f"class_{i}", f"probability_{i}") for i in kept))]]
    found = zip(ids, outcomes.truth, outcomes.best.tolist(), outcomes.probabilities.tolist(), strict=True)
    for name, truth, best, probabilities in found:
        pairs = [(classes[i], f"{p:.6g}") for i, p in zip(best, probabilities, strict=True)]
        rows.append([name, "|".join(classes[label] for label in truth), *chain(*pairs)])
    _write_csv(path, rows)


def write_confusion(path: Path, matrix: Tensor, classes: list[str]) -> None:
    """A CSV file: one row per label, one column per class a picture was taken for, numbers of pictures."""
    rows = [[name, *map(str, counts)] for name, counts in zip(classes, matrix.tolist(), strict=True)]
    _write_csv(path, [["label", *classes], *rows])


def _write_csv(path: Path, rows: list[list[str]]) -> None:
    buffer = io.StringIO()
    plain = ([printable(cell, keep="") for cell in row] for row in rows)
    csv.writer(buffer, lineterminator="\n").writerows(plain)
    write_text(path, buffer.getvalue())


def read_class_ids(path: Path, classes: list[str]) -> list[str]:
    """The number under which a server knows each class, from lines "<class> <number> …".

    Those of ImageNet (map_clsloc.txt of the development kit) are not in the order of the folder names.

    Raises:
        UserError: there is no such file, or it has no number for a class.
    """
    text = read_text(path.absolute(), f"--submission expected {ID_LINES}")
    words = [line.split() for line in text.splitlines()]
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
    count = len(classes)
    return [
        {"label": classes[i // count], "taken_for": classes[i % count], "pictures": int(wrong[i])}
        for i in cells
        if wrong[i]
    ]


def describe(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    lines = []
    protocol = result.get("protocol", "centre")
    if protocol == "dense":
        lines.append(
            f"dense, short sides of {', '.join(map(str, result['scales']))} pixels and mirror images"
        )
    elif protocol == "ensemble":
        lines.append(f"mean of {len(result['members'])} files of scores")
    elif protocol != "centre":
        lines.append(protocol)
    names = {"top1_error": "top-1 error, %", "top5_error": "top-5 error, %", "loss": "loss, nats"}
    totals = [(name, result["scores"][key]) for key, name in names.items() if key in result["scores"]]
    heading, classes = _list_classes(result)
    width = max((len(name) for name, _ in totals + classes), default=0)
    total_rows, class_rows = (
        [f"{name:<{width}}  {'-' if value is None else f'{value:.2f}':>6}" for name, value in rows]
        for rows in (totals, classes)
    )
    lines += [*total_rows, heading, *class_rows]
    if pairs := result.get("most_confused", []):
        lines.append("most frequent confusions (pictures, label → taken for):")
    return "\n".join(lines + [f"  {p['pictures']:>5}  {p['label']} → {p['taken_for']}" for p in pairs])


def _list_classes(result: dict[str, Any]) -> tuple[str, list[tuple[str, float | None]]]:
    """A heading, and the errors of all classes or of the worst."""
    errors: dict[str, float | None] = result["class_top1_error"]
    left_out = result.get("left_out", 0)
    if not result["pictures"]:
        return f"no errors: none of the {left_out} pictures has a label", []
    counted = f"{result['pictures']} pictures in all"
    if left_out:
        counted += f", {left_out} without label left out"
    rows = [(f"  {name}", error) for name, error in errors.items()]
    if len(rows) <= LISTED:
        return f"top-1 error of each class, %, - where it has no picture ({counted}):", rows
    heading = f"top-1 error of the {WORST} worst classes, % ({counted}; result.json has every class):"
    known = [row for row in rows if row[1] is not None]
    return heading, sorted(known, key=lambda row: row[1] or 0, reverse=True)[:WORST]
