"""Files as the evaluation servers of PASCAL VOC, COCO and ILSVRC want them."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from detection.data.annotations import DetectionDataset
from detection.metrics.localization_error import GUESSES
from detection.results.result_records import to_coco_records
from detection.types import Prediction
from foundation.atomic_files import write_json, write_text
from foundation.errors import UserError
from foundation.file_naming import OutputNames, portable_name

_ALGORITHM = "residual-backbones"
_ILSVRC = ("imagenet_det", "shapes_det")


def write_submission(
    predictions: Sequence[Prediction], dataset: DetectionDataset, kind: str, split: str, place: Path
) -> list[Path]:
    """Writes the files of one split.

    Args:
        predictions: one per picture, each with its `image_id`.
        kind: as `data.kind`; all that have no server of their own count as COCO.
        split: as in `data.val`, "2012:test" or "test-dev2017".
        place: a folder; of COCO also a file that ends in .json, of ILSVRC one that ends in .txt.
    Returns:
        The files.
    Raises:
        UserError: several splits joined, or a file of VOC's.
    """
    if "+" in split:
        raise UserError(f"--submission wants the predictions of one split, got data.val={split}")
    if kind == "voc":
        return _write_voc(predictions, dataset, split, place)
    if kind in _ILSVRC:
        return [_write_ilsvrc(predictions, dataset, split, place)]
    records = to_coco_records(predictions, dataset)
    name = portable_name(f"detections_{split}_{_ALGORITHM}_results", ".json")
    file = place if place.suffix == ".json" else place / name
    # COCO's tools take a record with a box for one of boxes, so the masks get a file of their own.
    masks = file.with_stem(file.stem.removesuffix("_results") + "-masks_results")
    masks.unlink(missing_ok=True)  # of other predictions than the boxes will be
    write_json(file, [{key: record[key] for key in _FIELDS} for record in records])
    if not any(prediction.masks is not None for prediction in predictions):
        return [file]
    write_json(masks, [{k: v for k, v in record.items() if k != "bbox"} for record in records])
    return [file, masks]


_FIELDS = ("image_id", "category_id", "bbox", "score")


def _write_voc(
    predictions: Sequence[Prediction], dataset: DetectionDataset, split: str, place: Path
) -> list[Path]:
    """results/VOC<year>/Main/comp4_det_<split>_<class>.txt, a line per detection.

    Each says picture, score, xmin, ymin, xmax, ymax: 1-based inclusive corners, so that what was read as
    (xmin − 1, ymin − 1, xmax, ymax) comes back. "comp4" is detection with any training data but the test's.
    """
    year, _, name = split.partition(":")
    if place.suffix:
        raise UserError(f"--submission must be a folder for the files of VOC's classes, got {place}")
    lines: list[list[str]] = [[] for _ in dataset.classes]
    for prediction in predictions:
        columns = (prediction.labels, prediction.scores, prediction.boxes)
        for label, score, (x1, y1, x2, y2) in zip(*map(Tensor.tolist, columns), strict=True):
            corners = f"{x1 + 1:.6f} {y1 + 1:.6f} {x2:.6f} {y2:.6f}"
            lines[label - 1].append(f"{prediction.image_id} {score:.9f} {corners}\n")
    names = OutputNames(place / "results" / portable_name(f"VOC{year}") / "Main")
    files = [names.place(f"comp4_det_{name}_{own}".replace("/", "-"), ".txt") for own in dataset.classes]
    for file in files:  # a killed call must not leave files of two networks
        file.unlink(missing_ok=True)
    for file, of_class in zip(files, lines, strict=True):
        write_text(file, "".join(of_class))
    return files


def _write_ilsvrc(
    predictions: Sequence[Prediction], dataset: DetectionDataset, split: str, place: Path
) -> Path:
    """A line per detection: picture, class, score, box.

    The picture is its place in the list of the split, from 1; the class its number in the development kit.
    """
    lines = []
    for number, prediction in enumerate(predictions, start=1):
        columns = (prediction.labels, prediction.scores, prediction.boxes)
        for label, score, box in zip(*map(Tensor.tolist, columns), strict=True):
            lines.append(f"{number} {dataset.category_ids[label - 1]} {score:.9f} {_from_zero(box)}\n")
    name = portable_name(f"detections_{split}_{_ALGORITHM}", ".txt")
    file = place if place.suffix == ".txt" else place / name
    write_text(file, "".join(lines))
    return file


def _from_zero(box: Sequence[float]) -> str:
    """Corners counted from 0, the last pixel inside, as ILSVRC's files have them."""
    x1, y1, x2, y2 = box
    return f"{x1:.6f} {y1:.6f} {x2 - 1:.6f} {y2 - 1:.6f}"


def write_localization_submission(
    guesses: Sequence[Prediction], dataset: DetectionDataset, file: Path
) -> None:
    """Writes the guesses of ILSVRC's localization task, five at most: each a class and a box.

    A line per picture, in alphabetical order of the pictures' file names, with the development kit's numbers
    of the classes. A file that ends in .csv is as Kaggle has it: in order of the data set, with the
    pictures' names and the classes' WordNet ids.

    Args:
        guesses: one per picture, in the order of the data set; rows are guesses, the best first.
    Raises:
        UserError: a picture has no guess, so that its line would be empty.
    """
    kaggle = file.suffix == ".csv"
    names = dataset.classes if kaggle else dataset.category_ids
    rows = []
    for index, prediction in enumerate(guesses):
        path = dataset.image_path(index)
        if not len(prediction.labels):
            raise UserError(f"{path.name} has no guess, and the server reads at least one a picture; add one")
        best = zip(prediction.labels[:GUESSES].tolist(), prediction.boxes[:GUESSES].tolist(), strict=True)
        rows.append((path, " ".join(f"{names[label - 1]} {_from_zero(box)}" for label, box in best)))
    if kaggle:
        lines = ["ImageId,PredictionString", *(f"{path.stem},{text}" for path, text in rows)]
    else:
        lines = [text for _, text in sorted(rows, key=lambda row: row[0].name)]
    write_text(file, "".join(f"{line}\n" for line in lines))
