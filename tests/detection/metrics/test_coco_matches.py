"""Single matches of result records, whose figures must be pycocotools' to the last bit."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from detection.metrics import coco_ap
from detection.metrics.coco_matches import match_records
from detection.metrics.conventions import COCO, COCO50, class_curve, class_matches, mean_of
from detection.metrics.matching import Matched
from detection.metrics.record_checks import check_records
from pictures.annotations.coco_checks import read_coco

Entries = list[dict[str, Any]]


def content(
    objects: Entries, image_ids: list[int | str], categories: tuple[int, ...] = (1,)
) -> dict[str, Any]:
    """An annotation file of pictures of 100 x 80; `objects` need image_id, category_id and bbox."""
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 80, "width": 100} for i in image_ids]
    annotations = [
        {"id": n, "area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0, **entry}
        for n, entry in enumerate(objects, start=1)
    ]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k, "name": f"class {k}"} for k in categories],
    }


def matched(annotations: dict[str, Any], records: Entries) -> Matched:
    ids = [[entry["id"] for entry in annotations[section]] for section in ("images", "categories")]
    return match_records(annotations, check_records(records, *ids, "records"))


def figures(annotations: dict[str, Any], records: Entries) -> list[float]:
    """AP and AP50 from the single matches."""
    matches = class_matches(matched(annotations, records))
    return [mean_of(matches, COCO), mean_of(matches, COCO50)]


def random_set(seed: int) -> tuple[dict[str, Any], Entries]:
    """Boxes with decimals, many across the border, some without area; crowds; odd areas; tied scores."""
    rng = np.random.default_rng(seed)
    objects: Entries = []
    image_ids = rng.permutation(12).tolist()
    for image_id in image_ids[2:]:
        for _ in range(rng.integers(1, 9)):
            box = [*rng.uniform(-30, 90, 2).round(1).tolist(), *rng.uniform(0, 60, 2).round(1).tolist()]
            entry = {"image_id": image_id, "category_id": int(rng.choice([3, 7])), "bbox": box}
            kind = rng.random()
            if kind < 0.1:
                entry |= {"iscrowd": 1}
            elif kind < 0.2:
                entry |= {"area": 2e10}  # outside of the range of "all" areas
            elif kind < 0.25:
                entry["bbox"][2] = 0
            objects.append(entry)
    records: Entries = []
    for entry in objects * 3:
        box = np.array(entry["bbox"])
        near = box if rng.random() < 0.3 else box + rng.normal(0, 3, 4).round(1)
        bbox = [*near[:2].tolist(), *np.maximum(near[2:], 0).tolist()]
        ids = {name: entry[name] for name in ("image_id", "category_id")}
        records.append({**ids, "bbox": bbox, "score": float(rng.choice([0.2, 0.5, 0.9]))})
    records.append({**records[0], "bbox": [-1e6, -1e6, 3e6, 3e6], "score": 0.95})
    records = [records[i] for i in rng.permutation(len(records))]
    return content(objects, image_ids, (7, 3)), records


@pytest.mark.parametrize("seed", range(12))
def test_figures_equal_pycocotools_and_the_headline_to_the_last_bit(seed: int, reference_stats: Callable):
    annotations, records = random_set(seed)
    assert figures(annotations, records) == reference_stats(annotations, records)[:2]
    assert figures(annotations, records) == coco_ap.evaluate(annotations, records).stats[:2].tolist()


def test_real_records_score_as_hotcoco_does(real_data):
    folder = real_data / "eval_refs" / "coco_fake100"
    expected = json.loads((folder / "expected.json").read_text())["bbox"]
    annotations = read_coco(folder / "instances_val2014_100.json")
    records = json.loads((folder / expected["detections"]).read_text())
    assert figures(annotations, records) == coco_ap.evaluate(annotations, records).stats[:2].tolist()


def test_tied_scores_are_ordered_by_the_pictures_ids(reference_stats: Callable):
    # Picture 2 stands first in the file and has the false alarm; picture 1 has the hit. By id the hit comes
    # first, so precision is 1 at recall 1; by the file's order it would be 1 / 2.
    annotations = content([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]}], [2, 1])
    records = [
        {"image_id": image_id, "category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.5} for image_id in (2, 1)
    ]
    (of_class,) = class_matches(matched(annotations, records))
    assert class_curve(of_class, COCO).precision == pytest.approx([1, 1 / 2])
    assert of_class.pictures.tolist() == [1, 0]  # as they stand in the file
    assert figures(annotations, records) == reference_stats(annotations, records)[:2]


def test_text_ids_are_ordered_as_text_behind_numbers():
    annotations = content([{"image_id": "a", "category_id": 1, "bbox": [0, 0, 10, 10]}], ["b", "a", 3])
    records = [
        {"image_id": image_id, "category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.5}
        for image_id in ("b", "a", 3)
    ]
    found = matched(annotations, records).found
    assert found.pictures.tolist() == [2, 1, 0]
    assert figures(annotations, records) == coco_ap.evaluate(annotations, records).stats[:2].tolist()


def test_rows_know_their_places_in_file_order():
    objects = [{"image_id": i, "category_id": 1, "bbox": [n, 0, 9, 9]} for n, i in enumerate((5, 2, 5, 5))]
    truth = matched(content(objects, [5, 2]), []).truth
    assert truth.pictures.tolist() == [1, 0, 0, 0] and truth.places.tolist() == [0, 0, 1, 2]
    assert truth.boxes[0].tolist() == [1, 0, 2, 3]


def test_only_the_best_hundred_of_a_class_and_picture_count():
    annotations = content([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]}], [1])
    record = {"image_id": 1, "category_id": 1, "bbox": [50, 50, 9, 9], "score": 0.9}
    hit = {**record, "bbox": [0, 0, 10, 10], "score": 0.1}
    assert figures(annotations, [hit, *[record] * 100]) == [0, 0]
    assert figures(annotations, [hit, *[record] * 99])[1] == pytest.approx(1 / 100)
    assert len(matched(annotations, [hit, *[record] * 100]).scores) == 100


def test_an_area_beyond_cocos_range_is_neither_found_nor_missed():
    objects = [
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "area": 2e10},
        {"image_id": 1, "category_id": 1, "bbox": [40, 40, 10, 10], "area": None},
    ]
    found = matched(content(objects, [1]), [])
    assert found.ignore.tolist() == [True, False]


def test_without_objects_or_records():
    assert np.isnan(figures(content([], [1]), [])).all()
    one = content([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]}], [1])
    assert figures(one, []) == [0, 0]
