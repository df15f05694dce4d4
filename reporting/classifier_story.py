"""What there is to say of a classifier: its training, or an evaluation of its weights."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.config import PretrainConfig
from classification.score.error_intervals import wilson
from foundation.errors import UserError, plural
from foundation.file_reading import read_text, readable
from reporting import run_facts
from reporting.learning_curves import TITLES, Entries, draw_curves, read_entries
from reporting.page.page_parts import Note, Part, Section, Story, Table
from reporting.page.svg_charts import interval_mark
from reporting.page.wording import figure, per_cent, with_interval
from reporting.paper_rows import classifier_rows, paper_section
from reporting.picture_intervals import OVER_PICTURES
from training.config import load_config

EVALUATION = (
    "evaluation"  # folder in a run's, for what tools/eval_cls.py or eval_det.py writes of its weights
)
SUREST = 15  # mistakes in the list
INTERVALS = f"95 % intervals (Wilson) {OVER_PICTURES}"


@dataclass(frozen=True)
class Answers:
    """What a classifier said of every picture: predictions.csv of tools/eval_cls.py.

    Attributes:
        ids, labels, best: N texts each; a picture without a label is left out, several are joined by |.
        sure: (N,) probability of the best class.
        wrong: (N,) whether the best class is none of the labels.
    """

    ids: list[str]
    labels: list[str]
    best: list[str]
    sure: NDArray[np.float64]
    wrong: NDArray[np.bool_]


@dataclass(frozen=True)
class ClassifierRun:
    """What a comparison of classifiers needs of one.

    Attributes:
        config: of its training; None of an evaluation.
        entries: what its training reported.
        answers: to every picture; None without them, and then `remedy` makes them.
    """

    name: str
    config: PretrainConfig | None
    entries: Entries
    scores: Mapping[str, float | None]
    pictures: int | None
    answers: Answers | None
    remedy: str


def is_training(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is a pretraining's."""
    return sections is not None and "model" in sections and not {"backbone", "testing"} & set(sections)


def is_evaluation(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is of tools/eval_cls.py."""
    return sections is None and result is not None and "class_top1_error" in result


def tell_training(folder: Path, name: str, resamples: int) -> tuple[Story, ClassifierRun]:
    """The story of a pretraining, and of the evaluation of its weights that lies in it.

    Raises:
        UserError: a file is damaged, or the run was never evaluated.
    """
    config = load_config(PretrainConfig, folder / "config.yaml")
    entries, notes = read_entries(folder / "metrics.jsonl")
    result = run_facts.result_so_far(folder, entries, notes)
    scores, pictures = result["scores"], result.get("pictures")
    where = f"{config.data.kind} {config.data.val_split}"
    rows = [
        ("Network", f"{config.model.name}, from {config.model.weights or 'random weights'}"),
        (
            "Data",
            f"trained on {config.data.kind} {config.data.train_split}, scored on {config.data.val_split}",
        ),
        *run_facts.of_training(folder, config, result),
    ]
    out = folder / EVALUATION
    remedy = f"python tools/eval_cls.py --weights {folder / 'last.safetensors'} --out {out}"
    answers, more = _answers_of_run(out, folder, remedy)
    kept = result.get("class_top1_error", {})
    sections = [
        run_facts.facts(rows),
        _figures(scores, pictures, notes + more),
        Section("Curves", draw_curves(entries)),
        *paper_section(classifier_rows(config, folder, {k: v for k, v in scores.items() if v is not None})),
        *_classes(kept, answers),
        *(_mistakes(answers) if answers else []),
        *run_facts.pictures_of(folder),
        run_facts.repeat("pretrain", folder),
        *run_facts.appendix(folder, config),
    ]
    story = Story(name, f"training of a classifier, {where}", headline(scores, pictures), _told(sections))
    return story, ClassifierRun(name, config, entries, scores, pictures, answers, remedy)


def tell_evaluation(folder: Path, name: str, resamples: int) -> tuple[Story, ClassifierRun]:
    """The story of a folder of tools/eval_cls.py; the errors are those of `tell_training`."""
    result = run_facts.read_result(folder)
    assert result is not None  # else it were no such folder
    about, scores, pictures = result.get("evaluated", {}), result["scores"], result.get("pictures")
    names = {"weights": "Weights", "sha256": "SHA-256", "data": "Data"}
    rows = [(words, str(about[key])) for key, words in names.items() if key in about]
    rows += [("Protocol", str(result.get("protocol", "centre")))]
    rows += [("Labels", str(result["labels"]))] if "labels" in result else []
    members = [f"{member['file']} ({member.get('sha256', '')})" for member in result.get("members", [])]
    rows += [("Averaged", "; ".join(members))] if members else []
    rows += run_facts.when(folder)
    file, notes, answers = folder / "predictions.csv", [], None
    if file.is_file():
        answers = read_answers(file)
    else:
        notes.append(Note(f"No list of mistakes: there is no {file.name} in the folder."))
    sections = [
        run_facts.facts(rows),
        _figures(scores, pictures, notes),
        *_classes(result["class_top1_error"], answers),
        *_confusions(result.get("most_confused", [])),
        *(_mistakes(answers) if answers else []),
    ]
    remedy = "python tools/eval_cls.py --weights FILE --out " + str(folder)
    story = Story(name, "evaluation of a classifier", headline(scores, pictures), _told(sections))
    return story, ClassifierRun(name, None, (), scores, pictures, answers, remedy)


def _told(sections: Sequence[Section]) -> list[Section]:
    return [section for section in sections if section.parts]


def headline(scores: Mapping[str, float | None], pictures: int | None) -> str:
    """The top-1 error with its interval, as a sentence."""
    return f"Top-1 error {error_text(scores.get('top1_error'), pictures)} %"


def error_text(error: float | None, pictures: int | None) -> str:
    """An error in per cent, with its interval where the number of pictures is known."""
    if error is None or not pictures:
        return figure(error)
    return with_interval(figure(error), *map(per_cent, wilson(round(error / 100 * pictures), pictures)))


def _figures(scores: Mapping[str, float | None], pictures: int | None, notes: Sequence[Note]) -> Section:
    rows = []
    for name, value in scores.items():
        title, unit = TITLES.get(name, (name, ""))
        text = error_text(value, pictures) if unit == "%" else figure(value, 3)
        rows.append([f"{title}, {unit}" if unit else title, text])
    counted = (
        f"On {plural(pictures, 'picture')}. {INTERVALS}"
        if pictures
        else ("No intervals: the number of pictures is not known before the run ends.")
    )
    return Section("Figures", [Table(["figure", "value"], rows), Note(counted), *notes])


def _answers_of_run(out: Path, folder: Path, remedy: str) -> tuple[Answers | None, list[Note]]:
    """Of the evaluation that lies in a run's folder, if it is of its last weights."""
    if not (out / "predictions.csv").is_file():
        return None, [Note(f"The pictures that it gets wrong are listed after {remedy}")]
    about = (run_facts.read_result(out) or {}).get("evaluated", {})
    digests = dict(run_facts.weights([folder / "last.safetensors"]))
    if not str(digests.get("last.safetensors", "")).endswith(str(about.get("sha256"))):
        text = f"{out} is of other weights than last.safetensors, and left out; make it anew with {remedy}"
        return None, [Note(text, warning=True)]
    return read_answers(out / "predictions.csv"), []


def read_answers(file: Path) -> Answers:
    """What tools/eval_cls.py wrote of every picture that has a label.

    Raises:
        UserError: it is no such file, or damaged.
    """
    remedy = "score the weights again with tools/eval_cls.py --out"
    text = read_text(file, remedy)
    with readable(file, remedy):
        rows = [row for row in csv.DictReader(io.StringIO(text)) if row["labels"]]
        labels, best = [row["labels"] for row in rows], [row["class_1"] for row in rows]
        sure = np.array([float(row["probability_1"]) for row in rows])
        wrong = np.array(
            [b not in truth.split("|") for b, truth in zip(best, labels, strict=True)], dtype=bool
        )
        if not rows or not np.isfinite(sure).all():
            raise UserError(f"{file}: expected a line for each picture, with probabilities; {remedy}")
        return Answers([row["id"] for row in rows], labels, best, sure, wrong)


def _classes(errors: Mapping[str, float | None], answers: Answers | None) -> list[Section]:
    """The error of every class, the worst first, with intervals where the pictures of each are counted."""
    if not errors:
        return []
    counts = Counter(label for labels in answers.labels for label in labels.split("|")) if answers else {}
    known = {name: error for name, error in errors.items() if error is not None}
    ranked = sorted(errors, key=lambda name: (name not in known, -known.get(name, 0.0)))
    rows = []
    for name in ranked:
        error, count = errors[name], counts.get(name)
        low, high = wilson(round(error / 100 * count), count) if count and error is not None else (None, None)
        mark = interval_mark(None if error is None else error / 100, low, high, (0, 1))
        cells = [name, error_text(error, count), mark]
        rows.append([*cells, str(count)] if answers else cells)
    heading = ["class", "top-1 error, %", "0 to 100", *(["pictures"] if answers else [])]
    note = (
        INTERVALS if answers else "Without intervals: how many pictures a class has stands in no file here."
    )
    return [Section("Classes", [Table(heading, rows, tall=True), Note(note)])]


def _confusions(pairs: Sequence[Mapping[str, Any]]) -> list[Section]:
    rows = [[str(pair["label"]), str(pair["taken_for"]), f"{pair['pictures']:,}"] for pair in pairs]
    if not rows:
        return []
    return [Section("Most frequent confusions", [Table(["label", "taken for", "pictures"], rows, (0, 1))])]


def _mistakes(answers: Answers) -> list[Section]:
    """The pictures it was surest of and wrong about."""
    wrong = np.flatnonzero(answers.wrong)
    order = wrong[np.argsort(-answers.sure[wrong], kind="stable")][:SUREST]
    rows = [
        [answers.ids[i], answers.labels[i], answers.best[i], per_cent(float(answers.sure[i]))] for i in order
    ]
    heading = ["picture", "label", "taken for", "probability, %"]
    parts: list[Part] = [Table(heading, rows, (0, 1, 2))] if rows else [Note("It makes no mistake.")]
    return [Section("Surest mistakes", parts)]
