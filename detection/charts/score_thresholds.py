"""The least score of each class: one number for all, or a file of `tools/eval_det.py --operating-point`."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from detection.types import Prediction
from foundation.errors import UserError
from foundation.file_reading import read_json
from pictures.annotations.field_checks import is_number, shown


class Thresholds(NamedTuple):
    """Least scores, not yet of a detector.

    Attributes:
        given: one probability for all classes, or one for each of `names`.
        names: the file's classes; None of a single probability.
        file: named in errors.
    """

    given: list[float]
    names: list[str] | None = None
    file: Path | None = None

    def of(self, classes: Sequence[str]) -> Tensor:
        """Those of a detector's classes, (K,) float64; a UserError where the file is of others."""
        values = self.given * len(classes) if self.names is None else self.given
        for number, (theirs, ours) in enumerate(zip_longest(self.names or classes, classes), start=1):
            if theirs != ours:
                raise UserError(
                    f"{self.file} is of other classes: class {number} is {_quoted(theirs)} there, "
                    f"{_quoted(ours)} in the detector; choose the operating point of this detector, on a set "
                    "of its classes"
                )
        return torch.tensor(values, dtype=torch.float64)


def read_thresholds(given: float | str | Path, name: str) -> Thresholds:
    """What a command or a caller gives as least scores.

    Args:
        given: a probability, or a path of an operating_point.json.
        name: of the argument, for errors.
    Raises:
        UserError: no probability and no such file.
    """
    try:
        number = float(given)  # type: ignore[arg-type]  # a path is no number
    except (TypeError, ValueError):
        return _read_file(Path(given), name)  # type: ignore[arg-type]
    if not 0 <= number <= 1:
        raise UserError(f"{name} must be a probability from 0 to 1, got {given}")
    return Thresholds([number])


def at_least(found: Prediction, thresholds: Tensor) -> Prediction:
    """What reaches the least score of its class; `thresholds` (K,)."""
    least = thresholds.to(found.scores)[found.labels - 1]
    rows = (found.scores >= least).nonzero().flatten()
    masks = None if found.masks is None else [found.masks[row] for row in rows.tolist()]
    return replace(found.of_rows(rows), masks=masks)


def _read_file(file: Path, name: str) -> Thresholds:
    written = "what tools/eval_det.py --operating-point writes"
    content = read_json(file, f"{name} must be a probability from 0 to 1, or a file: {written}")
    entries = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and {"name", "threshold"} <= entry.keys() for entry in entries
    ):
        raise UserError(f"{file} has no classes with a name and a threshold each; expected {written}")
    for entry in entries:
        if not is_number(entry["threshold"]) or not 0 <= entry["threshold"] <= 1:
            raise UserError(
                f"{file}: the threshold of {entry['name']} must be a probability from 0 to 1, got "
                f"{shown(entry['threshold'])}"
            )
    return Thresholds([entry["threshold"] for entry in entries], [entry["name"] for entry in entries], file)


def _quoted(name: str | None) -> str:
    return "none" if name is None else repr(name)
