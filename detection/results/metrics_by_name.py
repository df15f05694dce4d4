"""The metrics a configuration can name: `METRICS` says how each scores; a new one is an entry there."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from detection.data.annotations import DetectionDataset, JoinedDataset, void_pairs
from detection.data.coco_dataset import CocoDataset
from detection.metrics import coco_ap, ilsvrc_ap, voc_ap
from detection.metrics.conventions import COCO, ILSVRC, VOC07, VOC12, Conventions
from detection.metrics.record_checks import Record
from detection.results.result_records import has_masks, to_coco_annotations, to_coco_records
from detection.types import Prediction

# The figures by name, and the AP of every class; 0…1, negative or NaN where there is nothing to find.
Figures = tuple[dict[str, float], dict[str, float]]


@dataclass(frozen=True)
class Metric:
    """How a metric scores and how its figures are used.

    Attributes:
        score: scores predictions, one per picture of the data set and in its order.
        main: the figure by which the best weights are chosen, the larger the better.
        conventions: those of the main figure, for its interval; None where there is no interval.
        masks: whether masks are scored, so that the truth needs them.
    """

    score: Callable[[Sequence[Prediction], DetectionDataset], Figures]
    main: str
    conventions: Conventions | None = None
    masks: bool = False


def score(predictions: Sequence[Prediction], dataset: DetectionDataset, metric: str) -> dict[str, Any]:
    """Scores predictions, one per picture of the data set and in its order, by a metric of `METRICS`.

    Returns:
        {"metric": …, "scores": {name: 0…1}, "class_ap": {class: 0…1 or None where it has no object}}.
        COCO's own -1 for "nothing to find" becomes None as well. Figures of masks are named "segm/AP" …
    """
    return as_result(metric, METRICS[metric].score(predictions, dataset))


def as_result(metric: str, figures: Figures) -> dict[str, Any]:
    """The result of `score`, of figures scored already."""
    scores, class_ap = (
        {name: None if math.isnan(value) or value < 0 else value for name, value in of_name.items()}
        for of_name in figures
    )
    return {"metric": metric, "scores": scores, "class_ap": class_ap}


def _voc(
    predictions: Sequence[Prediction], dataset: DetectionDataset, method: Literal["area", "11point"]
) -> Figures:
    found = voc_ap.evaluate(predictions, dataset.targets, len(dataset.classes), method=method)
    return {"mAP": found.mean}, dict(zip(dataset.classes, found.ap.tolist(), strict=True))


def _ilsvrc(predictions: Sequence[Prediction], dataset: DetectionDataset) -> Figures:
    found = ilsvrc_ap.evaluate(
        predictions, dataset.targets, len(dataset.classes), void_pairs=void_pairs(dataset)
    )
    return {"mAP": found.mean}, dict(zip(dataset.classes, found.ap.tolist(), strict=True))


def _coco(predictions: Sequence[Prediction], dataset: DetectionDataset) -> Figures:
    """COCO's twelve figures, and twelve of the masks, where predictions and truth have them."""
    records, masks = to_coco_records(predictions, dataset), any(p.masks is not None for p in predictions)
    return score_records(coco_annotations(dataset), records, masks=masks)


def coco_annotations(dataset: DetectionDataset) -> dict[str, Any]:
    """The truth in COCO's layout, from annotation files where there are some; joined sets are renumbered."""
    if isinstance(dataset, CocoDataset):
        return dataset.truth()
    if isinstance(dataset, JoinedDataset):
        contents = [coco_annotations(part) for part in dataset.parts]
        objects = [annotation for content in contents for annotation in content["annotations"]]
        return {
            "images": [image for content in contents for image in content["images"]],
            "annotations": [{**entry, "id": number} for number, entry in enumerate(objects, start=1)],
            "categories": contents[0]["categories"],
        }
    return to_coco_annotations(dataset.targets, dataset.classes, dataset.category_ids)


def score_records(
    annotations: dict[str, Any], records: Sequence[Record], *, masks: bool, where: str = "predictions"
) -> Figures:
    """The figures of COCO's metric, from result records.

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
    return scores, dict(zip(found.classes, found.class_ap.tolist(), strict=True))


METRICS = {
    "coco": Metric(_coco, "AP", COCO, masks=True),
    "voc07": Metric(partial(_voc, method="11point"), "mAP", VOC07),
    "voc12": Metric(partial(_voc, method="area"), "mAP", VOC12),
    "ilsvrc_det": Metric(_ilsvrc, "mAP", ILSVRC),
}
# Of the kinds of data sets that have another metric of their own than COCO's.
OWN_METRICS = {"voc": "voc12", "imagenet_det": "ilsvrc_det", "shapes_det": "ilsvrc_det"}


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
