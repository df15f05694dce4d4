"""Which object each record of a result file found, exactly as COCO's AP counts it.

hotcoco gives sums over all pictures; intervals, curves and pictures of errors need the single detections. All
of pycocotools' rules that bear on the figures of all sizes are kept: boxes are taken as the files state them,
pictures are ordered by their ids, and objects and detections beyond its range of areas do not count.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from detection.metrics.conventions import COCO_THRESHOLDS
from detection.metrics.matching import Floats, Indices, Matched, Rows, best_of_each_group, match_coco
from detection.metrics.record_checks import Columns, id_order, object_areas
from pictures.annotations.field_checks import as_boxes

_LARGEST = 1e5**2  # square pixels of what counts among objects of all sizes
_PER_PICTURE = 100  # detections of a class


def match_records(annotations: dict[str, Any], columns: Columns) -> Matched:
    """What each record found at COCO's ten thresholds.

    Args:
        annotations: checked content of a COCO file; its pictures are numbered as they stand there.
        columns: the records, by `check_records`.
    """
    objects = annotations["annotations"]
    boxes = as_boxes([entry["bbox"] for entry in objects])
    truth, order = _rows(
        annotations,
        [entry["image_id"] for entry in objects],
        [entry["category_id"] for entry in objects],
        boxes,
    )
    areas = object_areas(objects, boxes)[order]
    crowd = np.array([bool(entry.get("iscrowd", 0)) for entry in objects], dtype=bool)[order]
    ignore = crowd | (areas > _LARGEST)
    found, order = _rows(annotations, columns.image_ids, columns.category_ids, columns.boxes)
    scores = columns.scores[order]
    kept = best_of_each_group(found, scores, _PER_PICTURE)
    found, scores = found.chosen(kept), scores[kept]
    match = match_coco(found, scores, truth, ignore, crowd, COCO_THRESHOLDS)
    return Matched(found, scores, truth, ignore, match, void=found.areas > _LARGEST)


def _rows(
    annotations: dict[str, Any], image_ids: Sequence[Any], category_ids: Sequence[int], boxes: Floats
) -> tuple[Rows, Indices]:
    """Entries with boxes (R, 4) x, y, width, height, in order of their pictures' ids, and that order."""
    images = [image["id"] for image in annotations["images"]]
    number_of = {image_id: number for number, image_id in enumerate(images)}
    categories = sorted(category["id"] for category in annotations["categories"])
    label_of = {category_id: label for label, category_id in enumerate(categories, start=1)}
    rank = np.zeros(len(images), dtype=np.int64)
    rank[sorted(range(len(images)), key=lambda number: id_order(images[number]))] = np.arange(len(images))
    pictures = np.array([number_of[image_id] for image_id in image_ids], dtype=np.int64)
    order = np.argsort(rank[pictures], kind="stable")
    labels = np.array([label_of[category_id] for category_id in category_ids], dtype=np.int64)[order]
    x, y, width, height = boxes[order].T
    corners, ranks = np.stack([x, y, x + width, y + height]), rank[pictures[order]]
    places = np.arange(len(order)) - np.searchsorted(ranks, ranks)
    # The area is not that of the corners, whose differences lose the last bit.
    areas = width * height
    return Rows(corners, areas, labels, pictures[order], places, len(images), len(categories)), order
