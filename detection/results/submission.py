"""Files as the evaluation servers of PASCAL VOC and COCO want them."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from detection.data.annotations import DetectionDataset
from detection.results.result_records import to_coco_records
from detection.types import Prediction
from foundation.atomic_files import write_json, write_text
from foundation.errors import UserError
from foundation.file_naming import OutputNames, portable_name

_ALGORITHM = "residual-backbones"


def write_submission(
    predictions: Sequence[Prediction], dataset: DetectionDataset, kind: str, split: str, place: Path
) -> list[Path]:
    """Writes the files of one split.

    Args:
        predictions: one per picture, each with its `image_id`.
        kind: "voc" or "coco", as which Shapes counts.
        split: as in `data.val`, "2012:test" or "test-dev2017".
        place: a folder; of COCO also a file that ends in .json.
    Returns:
        The files.
    Raises:
        UserError: several splits joined, or a file of VOC's.
    """
    if "+" in split:
        raise UserError(f"--submission wants the predictions of one split, got data.val={split}")
    if kind == "voc":
        return _write_voc(predictions, dataset, split, place)
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
