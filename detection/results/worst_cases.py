"""The surest false alarms and the largest objects missed, as pictures to look at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from detection.data.annotations import DetectionDataset
from detection.metrics.matching import Matched, Rows, best_first, first_of_each, overlap_most
from detection.results.prediction_drawing import draw
from detection.types import Prediction, Target
from foundation.file_naming import portable_name
from pictures.decoding import load_image

_SHORT_SIDE = 240  # least of a crop's sides when drawn, pixels
_LEAST_SCORE = 0.05  # of the detections drawn around a missed object


@dataclass(frozen=True)
class Case:
    """A false alarm (`index` of a detection) or a miss (`index` of an object) of picture number `picture`.

    `note` is for the file's name: the score, or how far the nearest detection of the class overlaps.
    """

    picture: int
    index: int
    note: str


def false_alarms(matched: Matched, count: int) -> list[Case]:
    """The detections of highest score that are no hits at the first threshold, IoU 0.5, the surest first."""
    scores, match, counts = matched.scores, matched.match[0], matched.counts[0]
    order = best_first(np.zeros(len(scores), dtype=np.int64), scores)
    wrong = order[~first_of_each(match[order]) & counts[order]][:count]
    return _cases(matched.found, wrong, [f"{scores[row]:.2f}" for row in wrong])


def misses(matched: Matched, count: int) -> list[Case]:
    """The largest objects that no detection of their class hits at IoU 0.5; first those none overlaps."""
    truth, match = matched.truth, matched.match[0]
    nearest = np.zeros(len(truth.labels))
    belongs, overlap = overlap_most(matched.found, truth)
    np.maximum.at(nearest, belongs[belongs >= 0], overlap[belongs >= 0])
    missed = ~matched.ignore
    missed[match[match >= 0]] = False
    order = np.lexsort((-truth.areas, nearest > 0))
    rows = order[missed[order]][:count]
    return _cases(truth, rows, [f"iou{nearest[row]:.2f}" for row in rows])


def _cases(of: Rows, rows: np.ndarray, notes: Sequence[str]) -> list[Case]:
    places = zip(of.pictures[rows].tolist(), of.places[rows].tolist(), notes, strict=True)
    return [Case(*place) for place in places]


def draw_worst(
    predictions: Sequence[Prediction], dataset: DetectionDataset, matched: Matched, folder: Path, count: int
) -> None:
    """Writes false_alarms/ and misses/, each with at most `count` crops, the worst first.

    Left of a crop what was found: the false alarm, or around a missed object all detections from a score of
    0.05; right the truth: all objects, or the missed one.

    Args:
        predictions: one per picture of the data set, in its order.
        matched: these predictions, as the figure counts them.
    Raises:
        UserError: a picture cannot be read.
    """
    targets = dataset.targets
    for name, cases in (("false_alarms", false_alarms(matched, count)), ("misses", misses(matched, count))):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for rank, case in enumerate(cases, start=1):
            found, truth = predictions[case.picture], targets[case.picture]
            pixels = load_image(dataset.image_path(case.picture), truth.size)
            only = torch.tensor([case.index])
            if name == "false_alarms":
                found = found.of_rows(only)
                box, label = found.boxes[0], int(found.labels[0])
            else:
                found = found.of_rows(found.scores >= _LEAST_SCORE)
                truth = truth.of_rows(only)
                box, label = truth.boxes[0], int(truth.labels[0])
            file = f"{rank:03d}_{dataset.classes[label - 1]}_{case.note}_{Path(str(truth.image_id)).stem}"
            picture = _crop(Image.fromarray(pixels), found, truth, box, dataset.classes)
            picture.save(folder / name / portable_name(file, ".png"))


def _crop(
    picture: Image.Image, found: Prediction, truth: Target, box: Tensor, classes: Sequence[str]
) -> Image.Image:
    """The box with as much again on every side, enlarged to be seen, the truth on the right."""
    margin = (box[2:] - box[:2]).clamp(min=16)
    limits = torch.tensor([picture.width, picture.height])
    low = (box[:2] - margin).floor().clamp(min=torch.zeros(2), max=limits - 1)
    high = (box[2:] + margin).ceil().clamp(min=low + 1, max=limits)
    zoom = max(1.0, _SHORT_SIDE / float((high - low).min()))
    crop = picture.crop(tuple(torch.cat([low, high]).int().tolist()))
    crop = crop.resize((round(crop.width * zoom), round(crop.height * zoom)))

    def reach_in(boxes: Tensor) -> Tensor:
        return (boxes[:, 2:] > low).all(dim=1) & (boxes[:, :2] < high).all(dim=1)

    found, truth = found.of_rows(reach_in(found.boxes)), truth.of_rows(reach_in(truth.boxes))
    return draw(
        crop,
        replace(found, boxes=(found.boxes - low.repeat(2)) * zoom),
        classes,
        target=replace(truth, boxes=(truth.boxes - low.repeat(2)) * zoom),
        score_threshold=-math.inf,
    )
