"""Scores of a whole set as a file, and their average over several networks (He et al. 2015, Table 5)."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foundation.atomic_files import write_arrays
from foundation.errors import UserError, first_difference
from foundation.file_reading import read_arrays, readable

VERSION = 1
# name: (kind of NumPy's, dimensions)
ARRAYS = {
    "log_probabilities": ("f", 2),
    "labels": ("i", 1),
    "ids": ("U", 1),
    "classes": ("U", 1),
    "about": ("U", 0),
}
REMEDY = "give a file that --save-logits wrote"


@dataclass(frozen=True)
class Scores:
    """What one network, or several together, say of N pictures of K classes.

    Attributes:
        ids: N names that do not depend on where the data lie: "<class>/<file>", "test/<index>" (CIFAR-10).
        labels: (N,) int64, those of the data set; −1 where it has none.
        classes: K names.
        log_probabilities: (N, K) float32; of several views of a picture, the log of their mean probability.
        about: how they came to be: "weights" (file name), "sha256" (of that file), "protocol" and so on.
    """

    ids: list[str]
    labels: Tensor
    classes: list[str]
    log_probabilities: Tensor
    about: dict[str, Any]


def portable_id(name: str) -> str:
    """The last two parts of a picture's path, or its place in a shard: the same on every machine."""
    return "/".join(PurePath(name.rpartition(".tar:")[2]).parts[-2:])


def save_scores(path: Path, scores: Scores) -> None:
    """Writes a NumPy archive (.npz) of the arrays `ARRAYS`, `about` as JSON text."""
    check_archive_name(path)
    about = json.dumps(scores.about | {"version": VERSION})
    write_arrays(path, {**{name: getattr(scores, name) for name in ARRAYS}, "about": about})


def check_archive_name(path: Path) -> None:
    """Refuses a file name that promises another format, and makes the folder; before anything is scored."""
    if path.suffix != ".npz":
        raise UserError(
            f"--save-logits {path}: the file is a NumPy archive; give it a name that ends in .npz"
        )
    path.parent.mkdir(parents=True, exist_ok=True)


def load_scores(path: Path) -> Scores:
    """Reads what `save_scores` wrote, or raises a UserError; nothing in the file is executed."""
    arrays = read_arrays(path, ARRAYS, REMEDY)
    with readable(path, REMEDY):
        about = dict(json.loads(str(arrays["about"])))
    if about.get("version") != VERSION:
        raise UserError(
            f"{path} is of version {about.get('version')}, expected {VERSION}; score the weights again"
        )
    _check_arrays(path, arrays)
    return Scores(
        arrays["ids"].tolist(),
        torch.from_numpy(arrays["labels"]).long(),
        arrays["classes"].tolist(),
        torch.from_numpy(arrays["log_probabilities"]).float(),
        about,
    )


def _check_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    num_pictures, num_classes = len(arrays["ids"]), len(arrays["classes"])
    for name, shape in (("log_probabilities", (num_pictures, num_classes)), ("labels", (num_pictures,))):
        if arrays[name].shape != shape:
            raise UserError(f"{path}: {name} is {arrays[name].shape}, expected {shape}; {REMEDY}")
    labels = arrays["labels"]
    if len(labels) and not -1 <= labels.min() <= labels.max() < num_classes:
        raise UserError(
            f"{path}: labels are {labels.min()} to {labels.max()}, expected -1 to {num_classes - 1}; {REMEDY}"
        )


def average(paths: Sequence[Path]) -> Scores:
    """The mean probability of several files, in the order of the first.

    Raises:
        UserError: one cannot be read, or they are not of the same pictures, labels and classes.
    """
    files = [load_scores(path) for path in paths]
    first = files[0]
    for path, other in zip(paths[1:], files[1:], strict=True):
        for what, ours, theirs in (
            ("classes", first.classes, other.classes),
            ("pictures", first.ids, other.ids),
            ("labels", first.labels.tolist(), other.labels.tolist()),
        ):
            if ours != theirs:
                raise UserError(
                    f"{paths[0]} has {len(ours)} {what}, {path} has {len(theirs)}"
                    f"{first_difference(ours, theirs)}; an ensemble needs the same pictures, labels and "
                    "classes in the same order: score all weights on the same data"
                )
    # In double precision, so that one file gives its own scores to the last bit.
    stacked = torch.stack([scores.log_probabilities.double() for scores in files])
    mean = (stacked.logsumexp(0) - math.log(len(files))).float()
    members = [{"file": str(path)} | scores.about for path, scores in zip(paths, files, strict=True)]
    about = {"protocol": "ensemble", "members": members}
    return Scores(first.ids, first.labels, first.classes, mean, about)
