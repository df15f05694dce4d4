"""Which classes to look for in a picture: those a classifier guesses, from the scores it saved."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Protocol

import torch
from torch import Tensor

from detection.localization.box_lists import BoxLists
from detection.localization.one_class_pictures import OneClassPictures
from detection.types import Prediction
from foundation.errors import UserError, first_difference, plural

MOST = 5  # guesses that ILSVRC allows for a picture

Guesses = Sequence[Sequence[int]]  # classes 1…K of each picture, the likeliest first


class SavedScores(Protocol):
    """What tools/eval_cls.py --save-logits writes, of N pictures and K classes.

    ids end in the pictures' file names; log_probabilities (N, K) float32.
    """

    @property
    def ids(self) -> list[str]: ...

    @property
    def classes(self) -> list[str]: ...

    @property
    def log_probabilities(self) -> Tensor: ...

    @property
    def about(self) -> dict[str, Any]: ...


def guessed_classes(scores: SavedScores, pictures: OneClassPictures, *, most: int = MOST) -> list[list[int]]:
    """The likeliest classes of every picture, whose file name finds it among the scores.

    Raises:
        UserError: the classes are others, or a picture has no scores or several.
    """
    if scores.classes != pictures.classes:
        raise UserError(
            f"the scores are of {len(scores.classes)} classes, the pictures of {len(pictures.classes)}"
            f"{first_difference(scores.classes, pictures.classes)}; score a classifier of the same classes, "
            "in the order of their folders' names"
        )
    rows: dict[str, int] = {}
    for row, name in enumerate(map(_stem, scores.ids)):
        if name in rows:
            raise UserError(f"the scores have two pictures {name!r}; expected every file name once")
        rows[name] = row
    names = [_stem(str(pictures.image_path(index))) for index in range(len(pictures))]
    missing = [name for name in names if name not in rows]
    if missing:
        raise UserError(
            f"the scores have no picture {missing[0]!r}, and lack {plural(len(missing), 'picture')} of "
            f"{len(names)}; score the classifier on this split (tools/eval_cls.py --save-logits)"
        )
    chosen = scores.log_probabilities[torch.tensor([rows[name] for name in names])]
    order = chosen.argsort(dim=1, descending=True, stable=True)[:, :most]
    return (order + 1).tolist()


def _stem(name: str) -> str:
    return PurePath(name).stem


def wanted_classes(pictures: OneClassPictures, guesses: Guesses | None) -> list[list[int]]:
    """Every picture's own class, where it is known, and the guessed ones."""
    others = guesses or [[]] * len(pictures)
    return [
        list(dict.fromkeys([*([label] if label else []), *guessed]))
        for label, guessed in zip(pictures.image_labels, others, strict=True)
    ]


def best_boxes(lists: BoxLists, pictures: OneClassPictures, guesses: Guesses) -> list[Prediction]:
    """For each guess of each picture, in its order, the best box of that class.

    Raises:
        UserError: nobody has looked for a class that is guessed.
    """
    found = []
    for index, labels in enumerate(guesses):
        best = [lists.of(index, label) for label in labels]
        for label, (boxes, _) in zip(labels, best, strict=True):
            if not len(boxes):
                raise UserError(
                    f"picture {pictures.image_ids[index]} has no box of class {pictures.classes[label - 1]}, "
                    "which is guessed; search the pictures again with these --guesses"
                )
        found.append(
            Prediction(
                torch.stack([boxes[0] for boxes, _ in best]) if best else torch.zeros(0, 4),
                torch.tensor(list(labels), dtype=torch.int64),
                torch.stack([scores[0] for _, scores in best]) if best else torch.zeros(0),
                image_id=pictures.image_ids[index],
            )
        )
    return found
