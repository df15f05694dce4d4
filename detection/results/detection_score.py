"""The metric a configuration names, as one record: its figures and its classes."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from detection.config import Metric
from detection.data.annotations import DetectionDataset, JoinedDataset
from detection.data.coco_checks import read_coco
from detection.data.coco_dataset import CocoDataset
from detection.metrics import coco_ap, voc_ap
from detection.results.result_records import Record, has_masks, to_coco_annotations, to_coco_records
from detection.types import Prediction

MAIN_SCORE = {"coco": "AP", "voc07": "mAP", "voc12": "mAP"}


def score(predictions: Sequence[Prediction], dataset: DetectionDataset, metric: Metric) -> dict[str, Any]:
    """Scores predictions, one per picture of the data set and in its order.

    Args:
        metric: "coco" (twelve figures, and twelve of the masks, where predictions and truth have them),
            "voc07" (11-point mAP at IoU 0.5), "voc12" (area under the curve).
    Returns:
        {"metric": …, "scores": {name: 0…1}, "class_ap": {class: 0…1 or None where it has no object}}.
        COCO's own -1 for "nothing to find" becomes None as well. Figures of masks are named "segm/AP" …
    """
    if metric == "coco":
        records, masks = to_coco_records(predictions, dataset), any(p.masks is not None for p in predictions)
        return score_records(coco_annotations(dataset), records, masks=masks)
    method: Literal["11point", "area"] = "11point" if metric == "voc07" else "area"
    found = voc_ap.evaluate(predictions, dataset.targets, len(dataset.classes), method=method)
    return _record(metric, {"mAP": found.mean}, dataset.classes, found.ap.tolist())


def coco_annotations(dataset: DetectionDataset) -> dict[str, Any]:
    """The truth in COCO's layout, from the annotation files where there are some."""
    if isinstance(dataset, CocoDataset):
        return read_coco(dataset.annotation_file)
    if isinstance(dataset, JoinedDataset):
        return _joined([coco_annotations(part) for part in dataset.parts])
    return to_coco_annotations(dataset.targets, dataset.classes, dataset.category_ids)


def _joined(contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several sets of the same classes as one; objects are numbered anew."""
    objects = [annotation for content in contents for annotation in content["annotations"]]
    return {
        "images": [image for content in contents for image in content["images"]],
        "annotations": [{**annotation, "id": number} for number, annotation in enumerate(objects, start=1)],
        "categories": contents[0]["categories"],
    }


def score_records(
    annotations: dict[str, Any], records: Sequence[Record], *, masks: bool, where: str = "predictions"
) -> dict[str, Any]:
    """The record of `score` for COCO's metric, from result records.

    Args:
        masks: the records have masks, to be scored if the annotations have some too.
        where: named in errors, e.g. the file.
    Raises:
        UserError: as `coco_ap.evaluate`.
    """
    found = coco_ap.evaluate(annotations, records, where=where)
    scores = dict(zip(coco_ap.STAT_NAMES, found.stats.tolist(), strict=True))
    if masks and has_masks(annotations["annotations"]):
        # Without the boxes a record's size is its mask's, as for COCO's own files of segmentations.
        bare = [{field: value for field, value in record.items() if field != "bbox"} for record in records]
        figures = coco_ap.evaluate(annotations, bare, "segm", where=where).stats.tolist()
        scores |= {f"segm/{n}": figure for n, figure in zip(coco_ap.STAT_NAMES, figures, strict=True)}
    return _record("coco", scores, found.classes, found.class_ap.tolist())


def _record(
    metric: Metric, scores: dict[str, float], classes: Sequence[str], class_ap: Sequence[float]
) -> dict[str, Any]:
    return {
        "metric": metric,
        "scores": {name: _known(value) for name, value in scores.items()},
        "class_ap": {name: _known(value) for name, value in zip(classes, class_ap, strict=True)},
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) or value < 0 else value


def describe(result: dict[str, Any]) -> str:
    """The record of `score` as a few lines for people, in per cent."""
    figures = [f"{name} {per_cent(value)}" for name, value in result["scores"].items()]
    boxes = [figure for figure in figures if not figure.startswith("segm/")]
    masks = [figure.removeprefix("segm/") for figure in figures if figure.startswith("segm/")]
    classes = [f"  {name:<20}{per_cent(value):>8}" for name, value in result["class_ap"].items()]
    lines = [f"{result['metric']} in %: {', '.join(boxes)}"]
    if masks:
        lines.append(f"of the masks: {', '.join(masks)}")
    return "\n".join([*lines, *classes])


def per_cent(value: float | None) -> str:
    """Two digits, or a dash where there was nothing to find."""
    return "-" if value is None else f"{100 * value:.2f}"
