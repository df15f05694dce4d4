"""Average precision as COCO computes it (hotcoco, equal to pycocotools to the last bit), and result records.

A result record is {"image_id", "category_id", "bbox": [x, y, width, height], "score"}, with the data set's
own ids; a result file is a JSON list of them.
"""

import io
import math
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from detection.data.annotations import DetectionDataset
from detection.data.coco_format import check_coco, check_known, read_coco, read_json, xywh_boxes
from detection.types import Prediction, Target
from engine.errors import UserError

STAT_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

Record = dict[str, Any]


@dataclass(frozen=True)
class CocoScores:
    """What `evaluate` found.

    Attributes:
        stats: (12,) in the order of STAT_NAMES, 0…1, −1 where there is nothing to find (COCO's convention).
        class_ap: (K,) AP per class, NaN where a class has no object.
        classes: K names, by category id.
    """

    stats: NDArray[np.float64]
    class_ap: NDArray[np.float64]
    classes: list[str]


def evaluate(
    annotations: str | Path | dict[str, Any],
    predictions: str | Path | Sequence[Record],
    iou_type: Literal["bbox", "segm"] = "bbox",
    *,
    where: str = "predictions",
) -> CocoScores:
    """Score result records against COCO annotations.

    Args:
        annotations: the JSON file or its content.
        predictions: the result file or its records; for "segm" with a `segmentation` each.
        where: names records that come from no file, in errors.
    Raises:
        UserError: a file is missing or malformed, or a record refers to nothing or holds no numbers.
    """
    if isinstance(annotations, str | Path):
        annotations = read_coco(annotations)
    else:
        check_coco(annotations, "annotations")
    if isinstance(predictions, str | Path):
        records, where = read_json(predictions), str(predictions)
    else:
        records = predictions
    categories = sorted(annotations["categories"], key=lambda category: category["id"])
    image_ids = [image["id"] for image in annotations["images"]]
    shape = "segmentation" if iou_type == "segm" else "bbox"
    check_records(records, image_ids, [category["id"] for category in categories], where, shape)

    stats, precision = _run_hotcoco(*_with_plain_ids(annotations, records), iou_type)
    per_class = [_mean_of_known(precision[:, :, index]) for index in range(len(categories))]
    return CocoScores(stats, np.array(per_class), [category["name"] for category in categories])


def check_records(
    records: Any,
    image_ids: Sequence,
    category_ids: Sequence,
    where: str,
    shape: str = "bbox",
) -> None:
    """Refuse result records that would be scored as something else than they say.

    Args:
        where: named in errors, e.g. the file.
        shape: the field that says where the object is, "bbox" or "segmentation".
    Raises:
        UserError: a field is missing, an id is unknown, a score is not finite, a box has a negative size.
    """
    needed = {"image_id", "category_id", "score", shape}
    if not isinstance(records, Sequence):
        raise UserError(f"{where}: expected a list of result records with {', '.join(sorted(needed))}")
    for index, record in enumerate(records):
        if not isinstance(record, dict) or not needed <= record.keys():
            raise UserError(
                f"{where}: record {index} is {record}, expected the fields {', '.join(sorted(needed))}"
            )

    def name(index: int) -> str:
        return f"{where}: record {index}"

    check_known([record["image_id"] for record in records], set(image_ids), "image_id", name)
    check_known([record["category_id"] for record in records], set(category_ids), "category_id", name)
    for index, record in enumerate(records):
        if not isinstance(record["score"], int | float) or not math.isfinite(record["score"]):
            raise UserError(f"{name(index)}: score is {record['score']!r}, expected a finite number")
    if shape == "bbox":
        xywh_boxes(records, name)


def _with_plain_ids(
    annotations: dict[str, Any], records: Sequence[Record]
) -> tuple[dict[str, Any], Sequence[Record]]:
    """Pictures and categories numbered in order of id, where `_as_array` or hotcoco would lose an id."""
    number = {}
    for section in ("images", "categories"):
        ids = sorted((entry["id"] for entry in annotations[section]), key=lambda i: (isinstance(i, str), i))
        number[section] = {own: position for position, own in enumerate(ids, start=1)}
    if all(isinstance(i, int) and 0 <= i < 2**53 for known in number.values() for i in known):
        return annotations, records

    def renumbered(entry: Record) -> Record:
        image, category = entry["image_id"], entry["category_id"]
        return {**entry, "image_id": number["images"][image], "category_id": number["categories"][category]}

    changed: dict[str, list] = {
        section: [{**entry, "id": known[entry["id"]]} for entry in annotations[section]]
        for section, known in number.items()
    }
    changed["annotations"] = [renumbered(entry) for entry in annotations["annotations"]]
    return {**annotations, **changed}, [renumbered(record) for record in records]


def _run_hotcoco(
    annotations: dict[str, Any], records: Sequence[Record], iou_type: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(12 stats, precision (T, 101, K) for all sizes and 100 detections a picture)."""
    import hotcoco  # not needed to import this module

    try:
        truth = hotcoco.COCO(annotations)
        results = truth.load_res(list(records) if iou_type == "segm" else _as_array(records))
    except ValueError as error:
        raise UserError(f"the annotations or records cannot be scored: {error}; correct the entry") from error
    evaluation = hotcoco.COCOeval(truth, results, iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    with redirect_stdout(io.StringIO()):  # it prints the table
        evaluation.summarize()
    assert evaluation.eval is not None
    return np.array(evaluation.stats), evaluation.eval["precision"][:, :, :, 0, -1]


def _as_array(records: Sequence[Record]) -> NDArray[np.float64]:
    """(D, 7) image id, x, y, width, height, score, category id: four times faster to load than dicts."""
    rows = [(r["image_id"], *r["bbox"], r["score"], r["category_id"]) for r in records]
    return np.array(rows, dtype=np.float64).reshape(-1, 7)


def _mean_of_known(precision: NDArray[np.float64]) -> float:
    known = precision[precision > -1]
    return float(np.mean(known)) if known.size else float("nan")


def to_coco_records(predictions: Sequence[Prediction], dataset: DetectionDataset) -> list[Record]:
    """Predictions as result records with the data set's own ids, unrounded.

    Args:
        predictions: each with its `image_id`.
    """
    records = []
    for prediction in predictions:
        boxes = prediction.boxes.double()
        boxes[:, 2:] -= boxes[:, :2]
        columns = zip(boxes.tolist(), prediction.labels.tolist(), prediction.scores.tolist(), strict=True)
        for box, label, score in columns:
            category_id = dataset.category_ids[label - 1]
            records.append(
                {"image_id": prediction.image_id, "category_id": category_id, "bbox": box, "score": score}
            )
    return records


def from_coco_records(
    records: Sequence[Record], dataset: DetectionDataset, where: str = "predictions"
) -> list[Prediction]:
    """One Prediction per picture of the data set, in its order; those without records are empty.

    Args:
        where: named in errors, e.g. the file.
    Raises:
        UserError: as `check_records`.
    """
    check_records(records, dataset.image_ids, dataset.category_ids, where)
    label_of = {category_id: label for label, category_id in enumerate(dataset.category_ids, start=1)}
    of_picture: dict[int | str, list[Record]] = {image_id: [] for image_id in dataset.image_ids}
    for record in records:
        of_picture[record["image_id"]].append(record)
    return [_prediction(image_id, found, label_of) for image_id, found in of_picture.items()]


def _prediction(image_id: int | str, records: Sequence[Record], label_of: dict[int, int]) -> Prediction:
    boxes = torch.tensor([record["bbox"] for record in records], dtype=torch.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Prediction(
        boxes=boxes.float(),
        labels=torch.tensor([label_of[record["category_id"]] for record in records], dtype=torch.int64),
        scores=torch.tensor([record["score"] for record in records], dtype=torch.float64),
        image_id=image_id,
    )


def to_coco_annotations(
    targets: Sequence[Target], classes: Sequence[str], category_ids: Sequence[int]
) -> dict[str, Any]:
    """Targets as the content of a COCO annotation file, so that any data set can be scored with COCO AP.

    Ignored objects become crowds, whose detections COCO does not count either. The area is the box's.
    """
    images = [
        {
            "id": target.image_id,
            "file_name": str(target.image_id),
            "height": target.size[0],
            "width": target.size[1],
        }
        for target in targets
    ]
    objects: list[dict[str, Any]] = []
    for target in targets:
        for (x1, y1, x2, y2), label, ignore in zip(
            target.boxes.tolist(), target.labels.tolist(), target.ignore.tolist(), strict=True
        ):
            objects.append(
                {
                    "id": len(objects) + 1,  # pycocotools takes a match with object 0 for none
                    "image_id": target.image_id,
                    "category_id": category_ids[label - 1],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(ignore),
                }
            )
    categories = [
        {"id": category_id, "name": name} for category_id, name in zip(category_ids, classes, strict=True)
    ]
    return {"images": images, "annotations": objects, "categories": categories}
