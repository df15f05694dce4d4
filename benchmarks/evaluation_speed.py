"""Our VOC and COCO scores beside pycocotools and, where it is installed, detectron2's VOC evaluator."""

import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.backbone_speed import Pair
from detection.data.annotation_writers import voc_annotation
from detection.metrics import coco_ap, voc_ap
from detection.results.result_records import to_coco_annotations, to_coco_records
from detection.types import Prediction, Target
from foundation.errors import UserError

CLASSES = [f"class {k}" for k in range(1, 21)]
TEN_THRESHOLDS = [0.5 + 0.05 * i for i in range(10)]


def evaluation_calls(pictures: int = 5000, per_picture: int = 50) -> Iterator[Pair]:
    """COCO AP on generated boxes and masks against pycocotools; VOC AP against its least work of like kind.

    Where detectron2 is installed, also VOC AP against its evaluator.
    """
    truth, found = random_boxes(pictures, per_picture)
    annotations = to_coco_annotations(truth, CLASSES, list(range(1, 21)))
    records = to_coco_records(found, _Classes())
    size = f"{pictures} pictures, {pictures * per_picture} detections"
    yield (
        f"COCO bbox AP, {size}",
        lambda: coco_ap.evaluate(annotations, records),
        lambda: pycocotools_ap(annotations, records),
    )
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "annotations.json"), Path(folder, "predictions.json")
        for file, content in zip(files, (annotations, records), strict=True):
            file.write_text(json.dumps(content))
        yield (
            f"COCO bbox AP from files, {size}",
            lambda: coco_ap.evaluate(*files),
            lambda: pycocotools_ap(*(json.loads(file.read_bytes()) for file in files)),
        )
    yield mask_calls(pictures=1000, per_picture=20)
    yield (
        f"VOC mAP (peer: pycocotools, IoU 0.5, one area range and limit), {size}",
        lambda: voc_ap.evaluate(found, truth, len(CLASSES)),
        lambda: pycocotools_ap(annotations, records, only_ap50=True),
    )
    if find_spec("detectron2") is not None:
        yield from detectron2_calls(pictures=1000, per_picture=100)


class _Classes:
    category_ids = list(range(1, len(CLASSES) + 1))


def mask_calls(pictures: int, per_picture: int) -> Pair:
    """COCO segm AP of boxes filled as run-lengths."""
    truth, found = random_boxes(pictures, per_picture)
    annotations = to_coco_annotations(truth, CLASSES, _Classes.category_ids)
    records = to_coco_records(found, _Classes())
    for entries in (annotations["annotations"], records):
        masks = coco_mask.frPyObjects(np.array([entry["bbox"] for entry in entries]), *truth[0].size)
        for entry, mask in zip(entries, masks, strict=True):
            entry["segmentation"] = {"size": list(mask["size"]), "counts": mask["counts"].decode()}
    return (
        f"COCO segm AP, {pictures} pictures, {pictures * per_picture} masks",
        lambda: coco_ap.evaluate(annotations, records, "segm"),
        lambda: pycocotools_ap(annotations, records, iou_type="segm"),
    )


def detectron2_calls(pictures: int, per_picture: int) -> Iterator[Pair]:
    """VOC07 AP at ten thresholds; detectron2's evaluator has its lines of text already.

    Raises:
        UserError: the mean AP at 0.5 differs by more than the rounding of its text explains.
    """
    truth, found = random_boxes(pictures, per_picture)

    def ours() -> list[float]:
        return [
            voc_ap.evaluate(found, truth, len(CLASSES), iou_threshold=threshold, method="11point").mean
            for threshold in TEN_THRESHOLDS
        ]

    with tempfile.TemporaryDirectory() as folder:
        evaluator = detectron2_evaluator(Path(folder), truth, found)
        mine, theirs = 100 * ours()[0], evaluator.evaluate()["bbox"]["AP50"]
        if abs(mine - theirs) > 0.5:
            raise UserError(f"expected the mAP of detectron2's evaluator, {theirs:.2f}, got {mine:.2f}")
        size = f"{pictures} pictures, {pictures * per_picture} detections"
        yield f"VOC07 mAP at ten thresholds (peer: detectron2), {size}", ours, evaluator.evaluate


def detectron2_evaluator(folder: Path, truth: list[Target], found: list[Prediction]) -> Any:
    """detectron2's evaluator of a VOC set with these objects, after it has seen these detections."""
    from detectron2.data import MetadataCatalog
    from detectron2.evaluation import PascalVOCDetectionEvaluator
    from detectron2.structures import Boxes, Instances

    (folder / "Annotations").mkdir()
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "ImageSets/Main/test.txt").write_text("\n".join(str(target.image_id) for target in truth))
    for target in truth:
        pairs = zip(target.labels.tolist(), target.boxes.tolist(), strict=True)
        objects = [(CLASSES[label - 1], box, False) for label, box in pairs]
        annotation = voc_annotation("", "", (*target.size, 3), objects)
        annotation.write(folder / f"Annotations/{target.image_id}.xml")
    name = str(folder)  # which no other set has
    MetadataCatalog.get(name).set(dirname=name, split="test", year=2007, thing_classes=CLASSES)
    evaluator = PascalVOCDetectionEvaluator(name)
    evaluator.reset()
    for target, prediction in zip(truth, found, strict=True):
        seen = Instances(target.size, pred_boxes=Boxes(prediction.boxes), scores=prediction.scores)
        seen.pred_classes = prediction.labels - 1
        evaluator.process([{"image_id": target.image_id}], [{"instances": seen}])
    return evaluator


def random_boxes(pictures: int, per_picture: int) -> tuple[list[Target], list[Prediction]]:
    """Seeded objects, 8 a picture, and detections scattered around them."""
    rng = np.random.default_rng(0)
    truth, found = [], []
    for number in range(1, pictures + 1):
        corner = rng.integers(0, 400, (8, 2))  # whole pixels, as files of VOC have them
        boxes = np.concatenate([corner, corner + rng.integers(10, 200, (8, 2))], axis=1)
        labels = rng.integers(1, 21, 8)
        chosen = rng.integers(0, 8, per_picture)
        near = boxes[chosen] + rng.normal(0, 8, (per_picture, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        objects, ignore = torch.tensor(boxes, dtype=torch.float32), torch.zeros(8, dtype=torch.bool)
        truth.append(Target(objects, torch.tensor(labels), ignore, image_id=number, size=(600, 600)))
        scores, near_boxes = torch.tensor(rng.random(per_picture)), torch.tensor(near, dtype=torch.float32)
        found.append(Prediction(near_boxes, torch.tensor(labels[chosen]), scores, number))
    return truth, found


def pycocotools_ap(
    annotations: dict, records: list[dict], *, iou_type: str = "bbox", only_ap50: bool = False
) -> NDArray[np.float64]:
    """The reference, start to end, with its printing swallowed.

    Returns:
        Precision (thresholds, 101 recalls, K, sizes, limits), -1 where there is nothing to find: ten
        thresholds, four sizes, three limits, or one of each.
    """
    with redirect_stdout(io.StringIO()):
        truth = COCO()
        # It writes into the entries, so it gets its own; the copies take about a hundredth of the time.
        objects = [dict(entry) for entry in annotations["annotations"]]
        truth.dataset = {**annotations, "annotations": objects}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([dict(record) for record in records]), iou_type)
        if only_ap50:
            evaluation.params.iouThrs = np.array([0.5])
            evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
            evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"]
