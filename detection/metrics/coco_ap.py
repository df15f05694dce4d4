"""Average precision as COCO computes it (hotcoco, equal to pycocotools to the last bit)."""

import io
import math
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detection.metrics.record_checks import (
    Columns,
    Record,
    check_record_masks,
    check_records,
    id_order,
    object_areas,
)
from foundation.errors import UserError
from foundation.file_reading import without_collections
from pictures.annotations.coco_checks import check_coco, plain_numbers, read_coco, read_json
from pictures.annotations.coco_masks import check_segmentations, whole_run_length
from pictures.annotations.field_checks import as_boxes

STAT_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

_Numbers = dict[str, dict[int | str, int]]  # of the ids of images and categories


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


@without_collections()
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
        content = read_coco(annotations)
    else:
        content = plain_numbers(annotations)
        check_coco(content, "annotations")
    if isinstance(predictions, str | Path):
        records, where = read_json(predictions), str(predictions)
    else:
        records = predictions
    categories = sorted(content["categories"], key=lambda category: category["id"])
    ids = {image["id"] for image in content["images"]}, {category["id"] for category in categories}
    columns = check_records(records, *ids, where, "bbox" if iou_type == "bbox" else "segmentation")
    if iou_type == "segm":
        _check_masks(content, records, where)
    evaluation = hotcoco_evaluation(content, records, columns, iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    with redirect_stdout(io.StringIO()):  # it prints the table
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # of all sizes and 100 detections a picture
    known = [of_class[of_class > -1] for of_class in np.moveaxis(precision, 2, 0)]
    per_class = [float(np.mean(values)) if values.size else math.nan for values in known]
    names = [category["name"] for category in categories]
    return CocoScores(np.array(evaluation.stats), np.array(per_class), names)


def _check_masks(annotations: dict[str, Any], records: Sequence[Record], where: str) -> None:
    sizes = {image["id"]: (image["height"], image["width"]) for image in annotations["images"]}
    objects = annotations["annotations"]
    check_segmentations(
        [entry.get("segmentation") for entry in objects],
        [sizes[entry["image_id"]] for entry in objects],
        lambda index: f"annotation {objects[index]['id']}",
    )
    check_record_masks(records, sizes, where)


# Whatever else stands there, such as a date as a number, hotcoco refuses or does not need.
_READ = {"images": ("file_name", "height", "width"), "categories": ("name",)}


def hotcoco_evaluation(
    annotations: dict[str, Any], records: Sequence[Record], columns: Columns, iou_type: str
) -> Any:
    """hotcoco's COCOeval of checked annotations and records, not yet evaluated."""
    import hotcoco  # not needed to import this module

    numbers = {section: _plain_ids(annotations[section]) for section in ("images", "categories")}
    plain = {
        section: [
            {"id": known[entry["id"]], **{field: entry[field] for field in _READ[section] if field in entry}}
            for entry in annotations[section]
        ]
        for section, known in numbers.items()
    }
    objects = annotations["annotations"]
    try:
        # An object's id may be text, or 0, which pycocotools takes for "found nothing"; here all have others.
        if iou_type == "segm":
            plain["annotations"] = [
                {"id": number, **_plain_entry(entry, numbers, ("bbox", "area", "iscrowd", "segmentation"))}
                for number, entry in enumerate(objects, start=1)
            ]
            truth = hotcoco.COCO(plain)
            # As for pycocotools, a record's size is its box's, if it has one.
            kept = ("score", "bbox", "segmentation")
            results = truth.load_res([_plain_entry(record, numbers, kept) for record in records])
        else:  # columns are four times as fast to load as dicts
            boxes = as_boxes([entry["bbox"] for entry in objects])
            truth = hotcoco.COCO.from_arrays(
                images=plain["images"],
                categories=plain["categories"],
                image_ids=[numbers["images"][entry["image_id"]] for entry in objects],
                category_ids=[numbers["categories"][entry["category_id"]] for entry in objects],
                boxes=boxes,
                area=object_areas(objects, boxes),
                iscrowd=[int(entry.get("iscrowd") or 0) for entry in objects],
            )
            ids, labels = (
                np.fromiter(map(numbers[section].__getitem__, own), np.float64, len(own))
                for section, own in (("images", columns.image_ids), ("categories", columns.category_ids))
            )
            results = truth.load_res(np.column_stack([ids, columns.boxes, columns.scores, labels]))
    except ValueError as error:
        raise UserError(f"the annotations or records cannot be scored: {error}; correct the entry") from error
    return hotcoco.COCOeval(truth, results, iou_type)


def _plain_ids(entries: Sequence[Record]) -> dict[int | str, int]:
    """Numbers in order of id where floats or hotcoco would lose an id, otherwise the ids themselves."""
    ids = sorted((entry["id"] for entry in entries), key=id_order)
    if all(isinstance(i, int) and 0 <= i < 2**53 for i in ids):
        return dict(zip(ids, ids, strict=True))
    return {own: position for position, own in enumerate(ids, start=1)}


def _plain_entry(entry: Record, numbers: _Numbers, fields: Sequence[str]) -> Record:
    """Of a record or an annotation what is scored, with the numbers of its picture and its category."""
    plain = {field: entry[field] for field in fields if entry.get(field) is not None}
    if isinstance(plain.get("segmentation"), dict):
        plain["segmentation"] = whole_run_length(plain["segmentation"])
    image, category = numbers["images"][entry["image_id"]], numbers["categories"][entry["category_id"]]
    return {"image_id": image, "category_id": category, **plain}
