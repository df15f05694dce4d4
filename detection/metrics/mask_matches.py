"""What became of every detection's mask, exactly as COCO's AP of masks counts it (hotcoco's own matches)."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from detection.metrics.coco_ap import hotcoco_evaluation
from detection.metrics.conventions import COCO_THRESHOLDS, ClassMatches
from detection.metrics.record_checks import Record, check_records

_ALL_SIZES = [0.0, 1e5**2]  # square pixels


def match_masks(annotations: dict[str, Any], records: Sequence[Record]) -> list[ClassMatches]:
    """Of every class that has an object which counts, in order of category id.

    Pictures are numbered in order of their ids.

    Args:
        annotations, records: checked already, as by `coco_ap.evaluate` for "segm".
    """
    image_ids = [image["id"] for image in annotations["images"]]
    category_ids = [category["id"] for category in annotations["categories"]]
    # Without the boxes a record's size is its mask's.
    bare = [{field: value for field, value in record.items() if field != "bbox"} for record in records]
    columns = check_records(bare, image_ids, category_ids, "predictions", "segmentation")
    evaluation = hotcoco_evaluation(annotations, bare, columns, "segm")
    evaluation.evaluate()
    pictures = {number: place for place, number in enumerate(sorted(evaluation.params.img_ids))}
    of_class: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for entry in evaluation.eval_imgs:
        if entry is not None and entry["aRng"] == _ALL_SIZES:
            of_class[entry["category_id"]].append(entry)
    labels = {number: label for label, number in enumerate(sorted(evaluation.params.cat_ids), start=1)}
    found = [_join(labels[number], of_class[number], pictures) for number in sorted(of_class)]
    return [one for one in found if one.objects.any()]


def _join(label: int, entries: list[dict[str, Any]], pictures: dict[int, int]) -> ClassMatches:
    """The pictures of a class, each with its detections, as one list by score."""
    entries = sorted(entries, key=lambda entry: pictures[entry["image_id"]])
    steps = len(COCO_THRESHOLDS)
    scores = np.concatenate([np.array(entry["dtScores"], dtype=np.float64) for entry in entries])
    matched, ignored = (
        np.concatenate([np.array(entry[name], dtype=bool).reshape(steps, -1) for entry in entries], axis=1)
        for name in ("dtMatched", "dtIgnore")
    )
    places = [pictures[entry["image_id"]] for entry in entries]
    numbers = np.repeat(places, [len(entry["dtScores"]) for entry in entries]).astype(np.int64)
    objects = np.zeros(len(pictures), dtype=np.int64)
    for place, entry in zip(places, entries, strict=True):
        objects[place] = len(entry["gtIgnore"]) - sum(map(bool, entry["gtIgnore"]))
    order = np.argsort(-scores, kind="stable")
    counts = ~ignored[:, order]
    return ClassMatches(label, numbers[order], scores[order], matched[:, order] & counts, counts, objects)
