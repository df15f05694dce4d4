"""Matches of masks give COCO's own figure of masks."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detection.metrics import coco_ap
from detection.metrics.bootstrap import bootstrap
from detection.metrics.conventions import COCO, mean_of
from detection.metrics.mask_matches import match_masks

SIZE = 120


def run_length(box: list[int]) -> dict[str, Any]:
    x, y, width, height = box
    pixels = np.zeros((SIZE, SIZE), dtype=np.uint8, order="F")
    pixels[y : y + height, x : x + width] = 1
    encoded = coco_mask.encode(pixels)
    return {**encoded, "counts": encoded["counts"].decode()}


def random_set(seed: int, pictures: int = 15) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Three classes of ids out of order, one without objects; crowds, all sizes, equal scores."""
    rng = np.random.default_rng(seed)
    objects, records = [], []
    ids = rng.permutation(100)[:pictures].tolist()
    for image_id in ids:
        for _ in range(4):
            box = [*rng.integers(0, 50, 2).tolist(), *rng.integers(8, 70, 2).tolist()]
            kind, crowd = int(rng.choice([7, 3])), int(rng.random() < 0.15)
            entry = {"id": len(objects) + 1, "image_id": image_id, "category_id": kind, "iscrowd": crowd}
            objects.append({**entry, "bbox": box, "area": box[2] * box[3], "segmentation": run_length(box)})
            near = [
                max(0, value + int(step)) for value, step in zip(box, rng.integers(-4, 5, 4), strict=True)
            ]
            found = {"image_id": image_id, "category_id": int(rng.choice([kind, 7, 5], p=[0.8, 0.1, 0.1]))}
            records.append({**found, "bbox": near, "score": float(rng.integers(1, 9)) / 10})
            records[-1]["segmentation"] = run_length(near)
    images = [{"id": i, "file_name": f"{i}.png", "height": SIZE, "width": SIZE} for i in ids]
    categories = [{"id": i, "name": str(i)} for i in (7, 3, 5)]
    return {"images": images, "annotations": objects, "categories": categories}, records


@pytest.mark.parametrize("seed", range(4))
def test_the_mean_is_the_figure(seed: int):
    annotations, records = random_set(seed)
    expected = coco_ap.evaluate(
        annotations, [{k: v for k, v in r.items() if k != "bbox"} for r in records], "segm"
    )
    matches = match_masks(annotations, records)
    assert mean_of(matches, COCO) == expected.stats[0]
    assert [one.label for one in matches] == [1, 3]  # 3 and 7; nothing is of 5
    counted = [entry for entry in annotations["annotations"] if not entry["iscrowd"]]
    assert sum(int(one.objects.sum()) for one in matches) == len(counted)


def test_intervals_of_masks():
    annotations, records = random_set(0, 40)
    matches = match_masks(annotations, records)
    interval = bootstrap(matches, 40, COCO, resamples=200)
    assert interval.low < interval.figure < interval.high


def test_nothing_found_and_nothing_there():
    annotations, _ = random_set(0)
    assert mean_of(match_masks(annotations, []), COCO) == 0
    assert match_masks({**annotations, "annotations": []}, []) == []
