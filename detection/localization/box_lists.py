"""The boxes found for classes of pictures, as a file: what R-CNN starts from, and what ensembles join."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foundation.atomic_files import write_arrays
from foundation.errors import UserError, first_difference
from foundation.file_reading import read_arrays, readable

VERSION = 1
REMEDY = "give a file that tools/eval_loc.py --save-boxes wrote"
# name: (kind of NumPy's, dimensions)
ARRAYS = {
    "ids": ("U", 1),
    "classes": ("U", 1),
    "pictures": ("i", 1),
    "labels": ("i", 1),
    "starts": ("i", 1),
    "boxes": ("f", 2),
    "scores": ("f", 1),
    "about": ("U", 0),
}


@dataclass(frozen=True)
class BoxLists:
    """Boxes of P pairs of a picture and a class, best first.

    Attributes:
        ids: N ids of pictures as text.
        classes: K names; label k is the k-th.
        pictures: (P,) int64, places in `ids`, ascending.
        labels: (P,) int64, 1…K.
        starts: (P + 1,) int64; pair p owns rows starts[p] to starts[p + 1].
        boxes: (T, 4) float32 xyxy, pixels of the files.
        scores: (T,) float32, probabilities.
        about: how they came to be: "weights", "sha256", "protocol" and so on.
    """

    ids: list[str]
    classes: list[str]
    pictures: Tensor
    labels: Tensor
    starts: Tensor
    boxes: Tensor
    scores: Tensor
    about: dict[str, Any]

    @cached_property
    def _pair(self) -> dict[tuple[int, int], int]:
        pairs = zip(self.pictures.tolist(), self.labels.tolist(), strict=True)
        return {pair: number for number, pair in enumerate(pairs)}

    def of(self, picture: int, label: int) -> tuple[Tensor, Tensor]:
        """Boxes (R, 4) and scores (R,) of a class in a picture; none where nobody looked for it."""
        number = self._pair.get((picture, label))
        if number is None:
            return self.boxes[:0], self.scores[:0]
        rows = slice(int(self.starts[number]), int(self.starts[number + 1]))
        return self.boxes[rows], self.scores[rows]

    def labels_of(self, picture: int) -> list[int]:
        """The classes that were looked for in a picture, in the order of the file."""
        return self.labels[self.pictures == picture].tolist()

    def save(self, path: Path) -> None:
        """Writes a NumPy archive (.npz) of `ARRAYS`, `about` as JSON text."""
        arrays: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in ARRAYS}
        arrays["about"] = json.dumps(self.about | {"version": VERSION})
        write_arrays(path, arrays)


def pack_lists(
    ids: Sequence[str],
    classes: Sequence[str],
    found: Sequence[tuple[int, int, Tensor, Tensor]],
    about: dict[str, Any],
) -> BoxLists:
    """From (picture, label, boxes, scores) of every pair, in the order of the pictures."""
    counts = [len(scores) for *_, scores in found]
    return BoxLists(
        list(ids),
        list(classes),
        torch.tensor([picture for picture, *_ in found], dtype=torch.int64),
        torch.tensor([label for _, label, *_ in found], dtype=torch.int64),
        torch.tensor([0, *np.cumsum(counts)], dtype=torch.int64),
        torch.cat([torch.zeros(0, 4), *(boxes.float() for *_, boxes, _ in found)]),
        torch.cat([torch.zeros(0), *(scores.float() for *_, scores in found)]),
        about,
    )


def load_lists(path: Path) -> BoxLists:
    """Reads what `BoxLists.save` wrote, or raises a UserError; nothing in the file is executed."""
    arrays = read_arrays(path, ARRAYS, REMEDY)
    with readable(path, REMEDY):
        about = dict(json.loads(str(arrays.pop("about"))))
    if about.pop("version", None) != VERSION:
        raise UserError(f"{path} is of another version, expected {VERSION}; make it anew")
    _check(path, arrays)
    ids, classes = arrays.pop("ids").tolist(), arrays.pop("classes").tolist()
    return BoxLists(ids, classes, **{n: torch.from_numpy(a) for n, a in arrays.items()}, about=about)


def _check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    pictures, labels, starts = arrays["pictures"], arrays["labels"], arrays["starts"]
    rows = len(arrays["scores"])
    sound = (
        len(pictures) == len(labels) == len(starts) - 1
        and arrays["boxes"].shape == (rows, 4)
        and starts[0] == 0
        and starts[-1] == rows
        and (np.diff(starts) >= 0).all()
        and (np.diff(pictures) >= 0).all()
        and ((pictures >= 0) & (pictures < len(arrays["ids"]))).all()
        and ((labels >= 1) & (labels <= len(arrays["classes"]))).all()
        and np.isfinite(arrays["boxes"]).all()
        and ((arrays["scores"] >= 0) & (arrays["scores"] <= 1)).all()
    )
    if not sound:
        raise UserError(f"{path}: its lists do not fit together, or hold impossible values; {REMEDY}")


def require_same(first: BoxLists, other: BoxLists, names: tuple[object, object]) -> None:
    """Raises a UserError unless both are of the same pictures and classes, in one order."""
    for what, ours, theirs in (
        ("classes", first.classes, other.classes),
        ("pictures", first.ids, other.ids),
    ):
        if ours != theirs:
            raise UserError(
                f"{names[0]} has {len(ours)} {what}, {names[1]} has {len(theirs)}"
                f"{first_difference(ours, theirs)}; search the same pictures with all networks"
            )
