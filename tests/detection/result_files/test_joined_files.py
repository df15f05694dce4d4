"""Several result files joined to one answer, against slow and obvious versions."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detection.data.coco_dataset import CocoDataset
from detection.improve.box_fusion import FUSION_IOU
from detection.result_files.joined_files import MOST, THRESHOLD, join_files
from detection.results.pasted_masks import decode_mask
from detection.results.result_records import to_coco_records
from foundation.errors import UserError

SIZE = (40, 60)
Record = dict[str, Any]


@pytest.fixture
def dataset() -> CocoDataset:
    """Two pictures and the classes cat (3) and dog (7)."""
    images = [{"id": i, "file_name": f"{i}.jpg", "height": SIZE[0], "width": SIZE[1]} for i in (5, 4)]
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    content = {"images": images, "categories": categories, "annotations": []}
    return CocoDataset("truth.json", "pictures", content=content)


def record(box: list[float], score: float, category: int = 3, image: int = 5) -> Record:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def outline(box: list[int]) -> Record:
    mask = np.zeros(SIZE, dtype=np.uint8, order="F")
    mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = 1
    return {"size": list(SIZE), "counts": coco_mask.encode(mask)["counts"].decode()}


def random_files(seed: int, number: int) -> list[list[Record]]:
    """What `number` detectors say of up to five objects, with repetitions and false alarms."""
    rng, files = np.random.default_rng(seed), []
    objects = np.concatenate([rng.uniform(0, 30, (5, 2)), rng.uniform(5, 25, (5, 2))], axis=1)
    for _ in range(number):
        chosen = rng.integers(0, 5, rng.integers(1, 14))
        boxes = np.abs(objects[chosen] + rng.normal(0, 1.5, (len(chosen), 4)))
        scores, kinds = rng.uniform(0.05, 1, len(chosen)), 3 + 4 * (chosen % 2)
        pictures = 4 + rng.integers(0, 2, len(chosen))
        rows = zip(boxes.tolist(), scores.tolist(), kinds.tolist(), pictures.tolist(), strict=True)
        files.append([record(*row) for row in rows])
    return files


def joined(files: list[list[Record]], dataset: CocoDataset, merge: str) -> list[Record]:
    names = [f"{index}.json" for index in range(len(files))]
    return to_coco_records(join_files(files, dataset, names, merge), dataset)


def iou(one: list[float], other: list[float]) -> float:
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def same_kind(one: Record, other: Record) -> bool:
    return (one["image_id"], one["category_id"]) == (other["image_id"], other["category_id"])


def obvious_suppression(files: list[list[Record]]) -> list[Record]:
    kept: list[Record] = []
    for entry in sorted((r for records in files for r in records), key=lambda r: -r["score"]):
        if all(iou(one["bbox"], entry["bbox"]) <= THRESHOLD for one in kept if same_kind(one, entry)):
            kept.append(entry)
    return kept


def obvious_fusion(files: list[list[Record]]) -> list[Record]:
    groups: list[list[Record]] = []

    def mean(group: list[Record]) -> list[float]:
        weights = [r["score"] for r in group]
        return np.average([r["bbox"] for r in group], axis=0, weights=weights).tolist()

    for entry in sorted((r for records in files for r in records), key=lambda r: -r["score"]):
        rivals = [group for group in groups if same_kind(group[0], entry)]
        overlaps = [iou(mean(group), entry["bbox"]) for group in rivals]
        if overlaps and max(overlaps) > FUSION_IOU:
            rivals[int(np.argmax(overlaps))].append(entry)
        else:
            groups.append([entry])
    fused = []
    for group in groups:
        score = np.mean([r["score"] for r in group]) * min(len(group), len(files)) / len(files)
        fused.append({**group[0], "bbox": mean(group), "score": float(score)})
    return fused


def by_score(records: list[Record]) -> list[tuple]:
    return sorted((r["image_id"], r["category_id"], r["score"], *r["bbox"]) for r in records)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("merge", "obvious"), [("nms", obvious_suppression), ("wbf", obvious_fusion)])
def test_equal_to_the_obvious_version(dataset: CocoDataset, merge: str, obvious: Any, seed: int):
    files = random_files(seed, 1 + seed % 4)
    expected, found = by_score(obvious(files)), by_score(joined(files, dataset, merge))
    assert len(found) == len(expected) and found
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_one_prediction_a_picture_in_the_sets_order_and_best_first(dataset: CocoDataset):
    files = [[record([0, 0, 9, 9], 0.2, image=4)], [record([20, 20, 9, 9], 0.9, image=4)]]
    first, second = join_files(files, dataset, ["a", "b"], "nms")
    assert (first.image_id, len(first.boxes)) == (5, 0)
    assert second.image_id == 4 and second.scores.tolist() == [0.9, 0.2] and second.masks is None


def test_the_best_hundred_are_kept(dataset: CocoDataset):
    # 30 x 20 boxes of 2 x 2 pixels that do not touch one another.
    many = [record([2 * (i % 30), 2 * (i // 30), 2, 2], (i + 1) / 1000) for i in range(600)]
    first, _ = join_files([many[:300], many[300:]], dataset, ["a", "b"], "nms")
    assert MOST == 100 and first.scores.tolist() == [(600 - i) / 1000 for i in range(100)]


def test_masks_of_suppression_and_fusion(dataset: CocoDataset):
    # Weights 0.8 and 0.4: the mean of two masks is at least 0.5 where the first has pixels, and nowhere else.
    # The third was found by one file alone, in an empty part of the picture.
    boxes = [[2, 3, 10, 10], [3, 3, 10, 10], [30, 20, 8, 8]]
    scores = (0.8, 0.4, 0.6)
    first, second, third = (
        {**record(list(map(float, box)), score), "segmentation": outline(box)}
        for box, score in zip(boxes, scores, strict=True)
    )
    files: list[list[Record]] = [[first], [second, third], []]  # a file without records has what all have
    for merge in ("nms", "wbf"):
        found, nothing = join_files(files, dataset, ["a", "b", "c"], merge)
        assert nothing.masks == [] and found.masks == [first["segmentation"], third["segmentation"]]
    equal = [[first], [{**second, "score": 0.8}]]
    (found, _) = join_files(equal, dataset, ["a", "b"], "wbf")
    both = [decode_mask(entry["segmentation"]) for entry in (first, second)]
    assert found.masks is not None and (decode_mask(found.masks[0]) == (both[0] | both[1])).all()


def test_what_cannot_be_joined_is_refused_by_name(dataset: CocoDataset):
    masked = [{**record([2, 3, 4, 4], 0.8), "segmentation": outline([2, 3, 4, 4])}]
    with pytest.raises(UserError, match=r"^b\.json: boxes alone, where a\.json has masks"):
        join_files([masked, [record([0, 0, 2, 2], 0.5)]], dataset, ["a.json", "b.json"], "nms")
    with pytest.raises(UserError, match=r"b\.json: record 0: image_id 6 is not"):
        join_files([[], [record([0, 0, 2, 2], 0.5, image=6)]], dataset, ["a.json", "b.json"], "nms")
    with pytest.raises(UserError, match=r"b\.json: score -2 cannot be a weight; .* --merge nms"):
        join_files([[], [record([0, 0, 2, 2], -2)]], dataset, ["a.json", "b.json"], "wbf")


def test_what_weighs_nothing_is_left_out_of_a_fusion(dataset: CocoDataset):
    files = [[record([0, 0, 0, 5], 0.9), record([0, 0, 0, 5], 0.8)], [record([1, 1, 5, 5], 0.0)]]
    assert joined(files, dataset, "wbf") == []
    assert len(joined(files, dataset, "nms")) >= 2


@pytest.mark.parametrize("seed", range(30))
def test_equal_to_ensemble_boxes(dataset: CocoDataset, seed: int):
    ensemble_boxes = pytest.importorskip("ensemble_boxes", reason="it needs numba and is no dependency")
    # Their boxes lie in a unit picture.
    files = [[r for r in records if r["image_id"] == 5] for records in random_files(seed, 3)]
    files = [[{**r, "bbox": (np.array(r["bbox"]) / 2).tolist()} for r in records] for records in files]
    sides = np.array([SIZE[1], SIZE[0]] * 2)
    boxes = [[np.array([x, y, x + w, y + h]) / sides for x, y, w, h in (r["bbox"] for r in f)] for f in files]
    given = [[[r[name] for r in records] for records in files] for name in ("score", "category_id")]
    means, scores, labels = ensemble_boxes.weighted_boxes_fusion(boxes, *given, iou_thr=FUSION_IOU)
    corners = np.array(means).reshape(-1, 4) * sides
    expected = [
        {**record([*box[:2], *(box[2:] - box[:2])], score, int(label))}
        for box, score, label in zip(corners, scores, labels, strict=True)
    ]
    found = by_score(joined(files, dataset, "wbf"))
    np.testing.assert_allclose(found, by_score(expected), atol=1e-4)
