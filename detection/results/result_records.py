"""Result records: predictions in COCO's layout and back, and targets as COCO's annotations.

A record is {"image_id", "category_id", "bbox": [x, y, width, height], "score"}, with the data set's own ids,
and "segmentation", a run-length, besides where there are masks; a result file is a JSON list of them, and
its records may have masks alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from detection.data.annotation_writers import coco_annotation, coco_content, coco_image
from detection.data.annotations import DetectionDataset
from detection.metrics.record_checks import Record, check_record_masks, check_records
from detection.results.pasted_masks import as_run_length, mask_boxes
from detection.types import Prediction, Target
from pictures.annotations.field_checks import check_known


class WithCategoryIds(Protocol):
    """Whatever knows its set's own ids of the classes 1…K: a data set, a detector."""

    @property
    def category_ids(self) -> Sequence[int]: ...


def has_masks(records: Any) -> bool:
    """Whether any record, of records not checked yet, has a mask; then all of them must."""
    return isinstance(records, Sequence) and any(
        isinstance(record, dict) and "segmentation" in record for record in records
    )


def with_boxes(records: Any, sizes: Mapping[int | str, tuple[int, int]], where: str) -> Any:
    """Records, not checked yet, that have masks and no boxes get the boxes around these, as pycocotools does.

    Args:
        sizes: (height, width) of the pictures by id.
        where: named in errors, e.g. the file.
    Raises:
        UserError: as `check_record_masks`, or a picture is unknown.
    """
    readable = has_masks(records) and all(isinstance(record, dict) for record in records)
    if not readable or all("bbox" in record for record in records):
        return records
    images = [record.get("image_id") for record in records]
    check_known(images, set(sizes), "image_id", lambda index: f"{where}: record {index}")
    check_record_masks(records, sizes, where)
    masks = [as_run_length(r["segmentation"], sizes[r["image_id"]]) for r in records]
    return [{"bbox": box, **record} for box, record in zip(mask_boxes(masks), records, strict=True)]


def to_coco_records(predictions: Sequence[Prediction], dataset: WithCategoryIds) -> list[Record]:
    """Predictions, each with its `image_id`, as result records with the data set's own ids, unrounded."""
    records = []
    for prediction in predictions:
        corner, end = prediction.boxes.double().split(2, dim=1)
        boxes = torch.cat([corner, end - corner], dim=1)
        labels, scores = prediction.labels.tolist(), prediction.scores.tolist()
        masks = (
            [{}] * len(boxes) if prediction.masks is None else [{"segmentation": m} for m in prediction.masks]
        )
        for box, label, score, mask in zip(boxes.tolist(), labels, scores, masks, strict=True):
            where = {"image_id": prediction.image_id, "category_id": dataset.category_ids[label - 1]}
            records.append({**where, "bbox": box, "score": score, **mask})
    return records


def from_coco_records(
    records: Sequence[Record], dataset: DetectionDataset, where: str = "predictions"
) -> list[Prediction]:
    """One Prediction per picture of the data set, in its order; those without records are empty.

    Raises:
        UserError: as `check_records` and `check_record_masks`.
    """
    sizes: dict[int | str, tuple[int, int]] = {}
    if masks := has_masks(records):
        sizes = dict(zip(dataset.image_ids, dataset.image_sizes, strict=True))
        records = with_boxes(records, sizes, where)
    check_records(records, dataset.image_ids, dataset.category_ids, where)
    if masks:
        check_record_masks(records, sizes, where)
    label_of = {category_id: label for label, category_id in enumerate(dataset.category_ids, start=1)}
    of_picture: dict[int | str, list[Record]] = {image_id: [] for image_id in dataset.image_ids}
    for record in records:
        of_picture[record["image_id"]].append(record)
    predictions = []
    for image_id, found in of_picture.items():
        boxes = torch.tensor([record["bbox"] for record in found], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([label_of[record["category_id"]] for record in found], dtype=torch.int64)
        scores = torch.tensor([record["score"] for record in found], dtype=torch.float64)
        own = [as_run_length(r["segmentation"], sizes[image_id]) for r in found] if masks else None
        predictions.append(Prediction(boxes, labels, scores, image_id, own))
    return predictions


def to_coco_annotations(
    targets: Sequence[Target], classes: Sequence[str], category_ids: Sequence[int]
) -> dict[str, Any]:
    """Targets as the content of a COCO annotation file, so that any data set can be scored with COCO AP.

    Ignored objects become crowds, whose detections COCO does not count either. The area is the box's.
    """
    # Numbers from 1: pycocotools takes a match with object 0 for none.
    objects = (
        (target.image_id, *columns)
        for target in targets
        for columns in zip(target.labels.tolist(), target.boxes.tolist(), target.ignore.tolist(), strict=True)
    )
    return coco_content(
        [coco_image(target.image_id, str(target.image_id), target.size) for target in targets],
        classes,
        category_ids,
        [
            coco_annotation(number, image_id, category_ids[label - 1], box, crowd=ignore)
            for number, (image_id, label, box, ignore) in enumerate(objects, start=1)
        ],
    )
