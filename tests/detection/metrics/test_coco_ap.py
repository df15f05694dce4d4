import contextlib
import copy
import io
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detection.metrics import coco_ap
from detection.results.result_records import to_coco_annotations, to_coco_records
from detection.types import Prediction, Target
from foundation.errors import UserError


def pycocotools_scores(annotations, records, iou_type="bbox"):
    """(stats, AP per class) by the reference."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(annotations)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(records)), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    per_class = [precision[:, :, k][precision[:, :, k] > -1] for k in range(precision.shape[2])]
    return evaluation.stats, np.array([p.mean() if p.size else np.nan for p in per_class])


def make_annotations(num_images=6, num_classes=3, seed=0, **of_first):
    """A random annotation file, with crowds and a picture without objects."""
    rng = np.random.default_rng(seed)
    images = [
        {"id": 7 * i + 3, "file_name": f"{i}.jpg", "height": 400, "width": 500} for i in range(num_images)
    ]
    annotations = []
    for image in images[1:]:
        for _ in range(rng.integers(1, 12)):
            x, y, w, h = (float(v) for v in (*rng.uniform(0, 300, 2), *rng.uniform(4, 200, 2)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": int(rng.integers(num_classes)) * 10 + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(rng.random() < 0.1),
                }
            )
    annotations[0] |= of_first
    categories = [{"id": 10 * k + 1, "name": f"class {k}"} for k in range(num_classes)]
    return {"images": images, "annotations": annotations, "categories": categories}


def make_records(annotations, seed=1):
    """Shifted copies of the truth and some inventions; scores with ties."""
    rng = np.random.default_rng(seed)
    records = []
    for entry in annotations["annotations"] * 2:
        bbox = [float(v) for v in np.array(entry["bbox"]) * rng.uniform(0.8, 1.2, 4)]
        score = float(np.round(rng.random(), 1))
        ids = {name: entry[name] for name in ("image_id", "category_id")}
        records.append({**ids, "bbox": bbox, "score": score})
    records.append({**records[0], "image_id": annotations["images"][0]["id"], "score": 0.95})
    return records


@pytest.mark.parametrize("seed", range(5))
def test_equals_pycocotools_to_the_last_bit(seed):
    annotations = make_annotations(seed=seed)
    records = make_records(annotations, seed=seed + 100)
    stats, per_class = pycocotools_scores(annotations, records)
    scores = coco_ap.evaluate(annotations, records)
    np.testing.assert_array_equal(scores.stats, stats)
    np.testing.assert_array_equal(scores.class_ap, per_class)
    assert scores.classes == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_fake100_equals_published_and_pycocotools(real_data, iou_type):
    folder = real_data / "eval_refs" / "coco_fake100"
    expected = json.loads((folder / "expected.json").read_text())[iou_type]
    truth, results = folder / "instances_val2014_100.json", folder / expected["detections"]
    scores = coco_ap.evaluate(truth, results, iou_type)
    published = expected["published_cocoapi"]
    assert {n: round(v, 3) for n, v in zip(coco_ap.STAT_NAMES, scores.stats, strict=True)} == published
    stats, per_class = pycocotools_scores(
        json.loads(truth.read_text()), json.loads(results.read_text()), iou_type
    )
    np.testing.assert_array_equal(scores.stats, stats)
    np.testing.assert_array_equal(scores.class_ap, per_class)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_jitter_equals_recorded_and_pycocotools(real_data, iou_type):
    expected = json.loads((real_data / "eval_refs" / "coco_jitter" / "expected.json").read_text())[iou_type]
    truth = json.loads((real_data / "coco" / "annotations" / "instances_val2017.json").read_text())
    records = json.loads((real_data / "eval_refs" / "coco_jitter" / "detections.json").read_text())
    scores = coco_ap.evaluate(truth, records, iou_type)
    assert dict(zip(coco_ap.STAT_NAMES, scores.stats.tolist(), strict=True)) == expected["stats"]
    np.testing.assert_array_equal(scores.stats, pycocotools_scores(truth, records, iou_type)[0])


def test_polygons_of_faster_coco_eval(real_data):
    folder = real_data / "eval_refs" / "fce_small"
    (expected,) = json.loads((folder / "expected.json").read_text()).values()
    truth = json.loads((folder / "gt_dataset.json").read_text())
    records = json.loads((folder / "dt_dataset.json").read_text())
    # As pycocotools' loadRes, a record's size is its box's, if it has one; published are those of the masks.
    without_boxes = [{key: value for key, value in r.items() if key not in ("bbox", "area")} for r in records]
    scores = coco_ap.evaluate(truth, without_boxes, "segm")
    assert dict(zip(coco_ap.STAT_NAMES, scores.stats.tolist(), strict=True)) == expected["published"]
    scores = coco_ap.evaluate(truth, records, "segm")
    np.testing.assert_array_equal(scores.stats, pycocotools_scores(truth, records, "segm")[0])


@pytest.mark.parametrize(
    "case", ["torchmetrics_doc_bbox", "torchmetrics_issue_943", "missing_prediction", "missing_ground_truth"]
)
def test_tiny_cases(real_data, case):
    content = json.loads((real_data / "eval_refs" / "tiny_cases.json").read_text())[case]
    targets, predictions = [], []
    for number, image in enumerate(content["images"]):
        truth = torch.tensor([o["box"] for o in image["gt"]], dtype=torch.float32).reshape(-1, 4)
        count = len(truth)
        labels = torch.ones(count, dtype=torch.int64)
        targets.append(Target(truth, labels, torch.zeros(count, dtype=torch.bool), number, (1000, 1000)))
        found = torch.tensor([o["box"] for o in image["det"]], dtype=torch.float32).reshape(-1, 4)
        confidence = torch.tensor([o["score"] for o in image["det"]])
        predictions.append(Prediction(found, torch.ones(len(found), dtype=torch.int64), confidence, number))
    annotations = to_coco_annotations(targets, ["thing"], [1])
    records = to_coco_records(predictions, SimpleNamespace(category_ids=[1]))
    scores = coco_ap.evaluate(annotations, records)
    assert (
        dict(zip(coco_ap.STAT_NAMES, scores.stats.tolist(), strict=True))
        == content["pycocotools_2.0.11_here"]
    )


def test_no_records_and_no_objects():
    annotations = make_annotations()
    scores = coco_ap.evaluate(annotations, [])
    assert scores.stats[0] == 0 and scores.class_ap.tolist() == [0, 0, 0]
    empty = coco_ap.evaluate({**annotations, "annotations": []}, make_records(annotations))
    assert (empty.stats == -1).all() and np.isnan(empty.class_ap).all()


def test_files_and_content_score_alike(tmp_path):
    annotations = make_annotations()
    records = make_records(annotations)
    (tmp_path / "truth.json").write_text(json.dumps(annotations))
    (tmp_path / "found.json").write_text(json.dumps(records))
    scores = coco_ap.evaluate(tmp_path / "truth.json", tmp_path / "found.json")
    np.testing.assert_array_equal(scores.stats, coco_ap.evaluate(annotations, records).stats)


def test_text_ids_and_missing_areas_score_as_numbers_and_box_areas():
    annotations = make_annotations()
    records = make_records(annotations)
    expected = coco_ap.evaluate(annotations, records)
    for entry in annotations["annotations"]:
        del entry["area"]
    for entry in [*annotations["annotations"], *records]:
        entry["image_id"] = f"{entry['image_id']:06}"
    for image in annotations["images"]:
        image["id"] = f"{image['id']:06}"
    before = copy.deepcopy(annotations)
    np.testing.assert_array_equal(coco_ap.evaluate(annotations, records).stats, expected.stats)
    assert annotations == before


@pytest.mark.parametrize("field", ["image_id", "category_id"])
@pytest.mark.parametrize("shift", [-15, 2**53])
def test_ids_that_floats_or_hotcoco_would_lose(field, shift):
    annotations = make_annotations()
    records = make_records(annotations)
    expected = coco_ap.evaluate(annotations, records)
    for entry in [*annotations["annotations"], *records]:
        entry[field] += shift
    for entry in annotations["images" if field == "image_id" else "categories"]:
        entry["id"] += shift
    scores = coco_ap.evaluate(annotations, records)
    np.testing.assert_array_equal(scores.stats, expected.stats)
    np.testing.assert_array_equal(scores.class_ap, expected.class_ap)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"image_id": 5}, "record 2: image_id 5 is not in the annotation file, which has 6 "),
        ({"category_id": 2}, "record 2: category_id 2 is not in the annotation file, which has 3 "),
        ({"score": float("nan")}, "record 2: score is nan, expected a finite number"),
        ({"score": "0.5"}, "record 2: score is '0.5'"),
        ({"bbox": [0, 0, -5, 5]}, r"record 2: bbox is \[0, 0, -5, 5\], expected \[x, y, width, height\]"),
        ({"bbox": [0, 0, 5]}, r"record 2: bbox is \[0, 0, 5\]"),
        ({"bbox": [0, 0, 5, float("inf")]}, "record 2: bbox is"),
        ({"bbox": None}, "record 2: bbox is None"),
    ],
)
def test_refuses_records(change, text):
    annotations = make_annotations()
    records = make_records(annotations)
    records[2] |= change
    with pytest.raises(UserError, match=f"predictions: {text}"):
        coco_ap.evaluate(annotations, records)


@pytest.mark.parametrize("section", ["annotations", "records"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"counts": "0"}, "the counts '0' of its segmentation are damaged"),
        ({"size": [5, 6]}, "segmentation is missing or malformed"),
    ],
)
def test_refuses_damaged_masks(coco_content, section, change, text):
    records = [
        {**entry, "score": 0.5, "segmentation": {"size": [4, 6], "counts": "0h0"}}
        for entry in coco_content["annotations"]
    ]
    coco_ap.evaluate(coco_content, records, "segm")
    entry = (records if section == "records" else coco_content["annotations"])[2]
    entry["segmentation"] = {"size": [4, 6], "counts": "0h0"} | change
    where = "predictions: record 2" if section == "records" else "annotation 3"
    with pytest.raises(UserError, match=f"^{where}: {text}"):
        coco_ap.evaluate(coco_content, records, "segm")


def test_refuses_files_that_are_no_records(tmp_path):
    annotations = make_annotations()
    path = tmp_path / "found.json"
    with pytest.raises(UserError, match="found.json: no such file"):
        coco_ap.evaluate(annotations, path)
    path.write_text('{"annotations": []}')
    with pytest.raises(
        UserError, match="found.json: expected a list of result records with bbox, category_id"
    ):
        coco_ap.evaluate(annotations, path)
    path.write_text('[{"image_id": 3, "score": 1}]')
    with pytest.raises(UserError, match="record 0 is {'image_id': 3, 'score': 1}, expected the fields bbox"):
        coco_ap.evaluate(annotations, path)
    path.write_text("[{")
    with pytest.raises(UserError, match="found.json: is damaged or of another kind"):
        coco_ap.evaluate(annotations, path)


@pytest.mark.parametrize("identity", [0, -5, 2**70, "x-9", 7.0])
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_an_object_is_found_whatever_its_id(coco_content: dict[str, Any], identity: Any, iou_type: Any):
    # pycocotools loses the match of an object with id 0 and refuses none of the others.
    coco_content["annotations"][0]["id"] = identity
    fields = ("image_id", "category_id", "bbox", "segmentation")
    records = [{**{f: a[f] for f in fields}, "score": 0.5} for a in coco_content["annotations"]]
    assert coco_ap.evaluate(coco_content, records, iou_type).stats[0] == pytest.approx(1)


def test_boxes_are_scored_whatever_their_segmentations_are(coco_content: dict[str, Any]):
    for annotation in coco_content["annotations"]:
        annotation["segmentation"] = "none"
    records = [{"image_id": 10, "category_id": 1, "bbox": [4, 1, 2, 3], "score": 0.5}]
    assert coco_ap.evaluate(coco_content, records).class_ap.tolist()[0] == pytest.approx(1)


def test_what_scoring_does_not_read_may_be_anything(coco_content: dict[str, Any]):
    records = [{"image_id": 10, "category_id": 18, "bbox": [1, 0, 3, 2], "score": 0.9}]
    plain = coco_ap.evaluate(coco_content, records).stats
    for image in coco_content["images"]:
        image |= {"date_captured": 0, "license": "none", "flickr_url": None}
    for category in coco_content["categories"]:
        category |= {"supercategory": 7}
    assert coco_ap.evaluate(coco_content, records).stats.tolist() == plain.tolist()
