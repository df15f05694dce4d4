"""Intervals over the choice of pictures, of runs of every kind alike, and what they are computed from."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from detection.metrics.bootstrap import interval_of
from foundation.errors import UserError, plural
from reporting.page.page_parts import Note, Section, Table
from reporting.page.wording import per_cent, share_with_interval
from training.run_folder import PER_PICTURE

LEVEL, SEED = 0.95, 0  # one seed for all, so that the resamples of two runs are of the same pictures
OVER_PICTURES = "are over the choice of pictures, not over other trainings."
Floats = NDArray[np.float64]
Intervals = Mapping[str, Sequence[float | None]]  # low and high, 0…1 or None, by the name of the figure


@dataclass(frozen=True)
class Resampled:
    """What a comparison needs, of runs scored on the same pictures by the same metric.

    Attributes:
        fingerprint: of the pictures and their annotations.
        means: the main figures by name, of all pictures, each once.
        resamples: (B,) these figures of each resample of the pictures.
        classes: K names.
        class_figures: (K,) the figure of each class; NaN where it has none.
        class_resamples: (K, B)
    """

    fingerprint: str
    means: dict[str, float]
    resamples: dict[str, Floats]
    classes: list[str]
    class_figures: Floats
    class_resamples: Floats

    def same_pictures(self, other: "Resampled") -> bool:
        """Whether both are of the same pictures, annotations and classes."""
        return (self.fingerprint, self.classes) == (other.fingerprint, other.classes)


def interval(values: Floats) -> tuple[float | None, float | None]:
    """The 95 % interval of resampled values; None twice where none is a number."""
    return interval_of(values, LEVEL)


class OfPictures(Protocol):
    """What an evaluation found in each picture: at least the scores that follow from it, 0…1."""

    @property
    def scores(self) -> Mapping[str, float]: ...


Kept = TypeVar("Kept", bound=OfPictures)


def kept_pictures(
    folder: Path, result: Mapping[str, Any], load: Callable[[Path], Kept], tool: str
) -> tuple[Kept | None, list[Note]]:
    """What the evaluation in a folder found in each picture.

    Args:
        result: of the evaluation.
        load: reads the folder's per_picture.npz.
        tool: the command that writes it.
    Returns:
        None, and a note that says why, where the file is missing, damaged, or of another evaluation.
    """
    file = folder / PER_PICTURE
    remedy = f"tools/{tool}.py --out DIR scores weights and writes one into DIR"
    try:
        if not file.is_file():
            raise UserError(f"there is no {PER_PICTURE} in the folder; {remedy}")
        kept = load(file)
        for name, value in kept.scores.items():
            stated = result["scores"].get(name)
            if not (math.isnan(value) if stated is None else math.isclose(value, stated, abs_tol=1e-9)):
                raise UserError(
                    f"{file} gives {name} {per_cent(value)} %, not {per_cent(stated)} % of the result: it is "
                    f"of another evaluation; {remedy}"
                )
    except UserError as error:
        return None, [Note(f"Of single pictures nothing is known: {error}.")]
    return kept, []


def unknown_pictures(name: str, kept: object | None) -> str:
    """Why a run is not compared whose pictures `kept_pictures` did not find; "" where it did."""
    return f"of {name} nothing is known of single pictures, as its own part says" if kept is None else ""


def score_section(
    result: Mapping[str, Any], names: Mapping[str, str], intervals: Intervals, notes: Sequence[Note]
) -> Section:
    """All scores of a result in per cent, with the intervals that are known.

    Args:
        names: the scores in words.
    """
    rows = [
        [f"{names.get(name, name)}, %", share_with_interval(value, intervals.get(name))]
        for name, value in result["scores"].items()
    ]
    said = [f"On {plural(result['pictures'], 'picture')}."] if "pictures" in result else []
    said += [f"Intervals, 95 %, {OVER_PICTURES}"] if intervals else []
    more = [Note(" ".join(said))] if said else []
    return Section("Figures", [Table(["figure", "value"], rows), *more, *notes])
