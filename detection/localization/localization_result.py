"""What a search of pictures is worth: ILSVRC's localization errors, of all pictures and of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detection.localization.box_lists import BoxLists
from detection.localization.class_guesses import Guesses, best_boxes
from detection.localization.one_class_pictures import OneClassPictures
from detection.metrics.bootstrap import bootstrap_mean
from detection.metrics.localization_error import evaluate, whole_picture_error
from detection.metrics.matching import Flags
from foundation.atomic_files import write_arrays
from foundation.errors import UserError, plural
from foundation.file_reading import read_arrays

NAMES = {
    "oracle_error": "error with the true class",
    "whole_picture_error": "that of the whole picture's box",
    "top1_error": "error of one guess",
    "top5_error": "error of five guesses",
    "classification_top1_error": "classification, one guess",
    "classification_top5_error": "classification, five guesses",
}
REMEDY = "expected what tools/eval_loc.py --out writes; score the boxes again"
# name: (kind of NumPy's, dimensions)
ARRAYS = {
    "ids": ("U", 1),
    "classes": ("U", 1),
    "labels": ("i", 1),
    "fingerprint": ("U", 0),
    "errors": ("U", 1),
    "wrong": ("b", 2),
}


@dataclass(frozen=True)
class JudgedPictures:
    """Which of the C pictures that count are wrong, and which pictures they are.

    Attributes:
        ids: C names of pictures; one with several classes may stand once for each.
        classes: K names.
        labels: C classes of the pictures, 1…K.
        fingerprint: of the data set, see `DetectionDataset`.
        wrong: (C,) by the name of the error, one of `NAMES`.
    """

    ids: list[str]
    classes: list[str]
    labels: list[int]
    fingerprint: str
    wrong: Mapping[str, Flags]

    @property
    def scores(self) -> dict[str, float]:
        """The errors, 0…1."""
        return {name: float(wrong.mean()) for name, wrong in self.wrong.items()}

    def save(self, file: Path) -> None:
        """Writes a NumPy archive (.npz) of `ARRAYS`: `wrong` has a row for each of `errors`."""
        texts = {
            name: np.array(values, dtype=np.str_)
            for name, values in (("ids", self.ids), ("classes", self.classes), ("errors", [*self.wrong]))
        }
        wrong = np.stack([*self.wrong.values()])
        write_arrays(file, {**texts, "labels": self.labels, "fingerprint": self.fingerprint, "wrong": wrong})


def load_judged_pictures(file: Path) -> JudgedPictures:
    """Reads what `JudgedPictures.save` wrote.

    Raises:
        UserError: it cannot be read, or its arrays are not of the same pictures.
    """
    arrays = read_arrays(file, ARRAYS, REMEDY)
    ids, classes, labels, errors = (arrays[name].tolist() for name in ("ids", "classes", "labels", "errors"))
    if not ids or len(labels) != len(ids) or arrays["wrong"].shape != (len(errors), len(ids)):
        raise UserError(f"{file}: its arrays do not fit together; {REMEDY}")
    wrong = dict(zip(errors, arrays["wrong"], strict=True))
    return JudgedPictures(ids, classes, labels, str(arrays["fingerprint"]), wrong)


def judge_pictures(lists: BoxLists, pictures: OneClassPictures, guesses: Guesses | None) -> JudgedPictures:
    """Which pictures the best boxes are wrong in.

    Args:
        lists: boxes of every picture's class, and of the guessed ones.
        guesses: of a classifier; without, only the errors with the true class are known.
    """
    truth = (pictures.targets, pictures.image_labels)
    counted: dict[str, Any] = {"left_out": pictures.left_out}
    own = [[label] for label in pictures.image_labels]
    found = {"oracle_error": evaluate(best_boxes(lists, pictures, own), *truth, **counted).wrong}
    found["whole_picture_error"] = whole_picture_error(*truth, **counted).wrong
    if guesses is not None:
        answers = best_boxes(lists, pictures, guesses)
        for most in (1, 5):
            scores = evaluate(answers, *truth, **counted, most=most)
            found[f"top{most}_error"] = scores.wrong
            found[f"classification_top{most}_error"] = scores.misclassified
    places = [place for place in range(len(pictures)) if place not in pictures.left_out]
    ids, labels = zip(*((str(pictures.image_ids[p]), pictures.image_labels[p]) for p in places), strict=True)
    return JudgedPictures([*ids], pictures.classes, [*labels], pictures.fingerprint(), found)


def localization_result(judged: JudgedPictures, *, resamples: int = 0) -> dict[str, Any]:
    """The errors as result.json has them, 0 … 1.

    Args:
        resamples: of the pictures, for 95 % intervals; 0 leaves them out.
    Returns:
        {"metric": "localization", "scores": {name: 0…1}, "pictures": C, "intervals": {name: [low, high]}},
        the names of `NAMES`. "oracle_error" is the column "LOC error on GT CLS" of He et al. 2015, Table 13,
        "top5_error" its last.
    """
    result: dict[str, Any] = {
        "metric": "localization",
        "scores": judged.scores,
        "pictures": len(judged.ids),
    }
    if resamples:
        intervals = {name: bootstrap_mean(wrong, resamples=resamples) for name, wrong in judged.wrong.items()}
        result["intervals"] = {name: [interval.low, interval.high] for name, interval in intervals.items()}
    return result


def describe_localization(result: dict[str, Any]) -> str:
    """The result as a few lines for people, in per cent."""
    lines = [f"localization error in % of {plural(result['pictures'], 'picture')}"]
    for name, value in result["scores"].items():
        line = f"  {NAMES[name]:<34}{100 * value:>7.2f}"
        if name in result.get("intervals", {}):
            low, high = result["intervals"][name]
            line += f"  ({100 * low:.2f} to {100 * high:.2f})"
        lines.append(line)
    return "\n".join(lines)
