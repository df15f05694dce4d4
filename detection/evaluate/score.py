"""The metric a configuration names, as one record: its figures and its classes."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from detection.build import load_detector, open_dataset
from detection.data.annotations import DetectionDataset
from detection.data.coco import CocoDataset
from detection.data.voc import VocDataset
from detection.evaluate import coco_ap, voc_ap
from detection.evaluate.predict import predict_dataset
from detection.types import Prediction
from engine import distributed
from engine.checkpoint import replace_atomically
from engine.device import resolve_device
from engine.errors import UserError

Metric = Literal["coco", "voc07", "voc12"]
MAIN_SCORE = {"coco": "AP", "voc07": "mAP", "voc12": "mAP"}


def score(predictions: Sequence[Prediction], dataset: DetectionDataset, metric: Metric) -> dict[str, Any]:
    """Scores predictions, one per picture of the data set and in its order.

    Args:
        metric: "coco" (twelve figures), "voc07" (11-point mAP at IoU 0.5), "voc12" (area under the curve).
    Returns:
        {"metric": …, "scores": {name: 0…1}, "class_ap": {class: 0…1 or None where it has no object}}.
        COCO's own -1 for "nothing to find" becomes None as well.
    """
    if metric == "coco":
        truth = (
            dataset.annotation_file
            if isinstance(dataset, CocoDataset)
            else coco_ap.to_coco_annotations(dataset.targets, dataset.classes, dataset.category_ids)
        )
        return _from_coco(coco_ap.evaluate(truth, coco_ap.to_coco_records(predictions, dataset)))
    method: Literal["11point", "area"] = "11point" if metric == "voc07" else "area"
    found = voc_ap.evaluate(predictions, dataset.targets, len(dataset.classes), method=method)
    return _record(metric, {"mAP": found.mean}, dataset.classes, found.ap.tolist())


def _from_coco(found: coco_ap.CocoScores) -> dict[str, Any]:
    scores = dict(zip(coco_ap.STAT_NAMES, found.stats.tolist(), strict=True))
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
    figures = [f"{name} {_per_cent(value)}" for name, value in result["scores"].items()]
    classes = [f"  {name:<20}{_per_cent(value):>8}" for name, value in result["class_ap"].items()]
    return "\n".join([f"{result['metric']} in %: {', '.join(figures)}", *classes])


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def score_weights(weights: Path, overrides: Sequence[str], out: Path | None) -> dict[str, Any]:
    """Runs a detector over the validation split it was trained with and scores it.

    Args:
        overrides: changes to its configuration, for instance "data.val=2007:test".
        out: folder for predictions.json and result.json; by default beside the weights.
    Raises:
        UserError: no detector's weights, data missing, or a data set with other classes.
    """
    model, config, classes = load_detector(weights, overrides)
    dataset = open_dataset(config.data, config.data.val)
    if dataset.classes != classes:
        raise UserError(f"{weights} knows the classes {classes}, data.val has {dataset.classes}; choose data to match")
    model.to(resolve_device(config.run.device))
    predictions = predict_dataset(model, dataset, config.data, config.run)
    result = score(predictions, dataset, config.metric)
    write_files(out or weights.parent, predictions, dataset, result)
    return result


def write_files(
    folder: Path, predictions: Sequence[Prediction], dataset: DetectionDataset, result: dict[str, Any]
) -> None:
    """predictions.json (result records with the data set's own ids) and result.json, by the main process."""
    if not distributed.is_main():
        return
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"predictions.json": coco_ap.to_coco_records(predictions, dataset), "result.json": result}
    for name, content in contents.items():
        with replace_atomically(folder / name) as temporary:
            temporary.write_text(json.dumps(content, indent=1 if name == "result.json" else None))


def score_predictions_file(predictions: str, dataset: str | None, method: str) -> dict[str, Any]:
    """Scores anybody's result file; no network is involved.

    Args:
        predictions: JSON list of {image_id, category_id, bbox xywh, score}; for VOC, image_id is the picture's name
            ("000012") and category_id 1…20 in alphabetical order of the classes.
        dataset: "coco:ANNOTATIONS.json" or "voc:DEVKIT/VOC<year>:<split>".
        method: of VOC AP, "area" or "11point".
    Raises:
        UserError: the set is not named so, or a file is missing or malformed.
    """
    kind, _, rest = (dataset or "").partition(":")
    if kind == "coco" and rest:
        return _from_coco(coco_ap.evaluate(rest, predictions))
    folder, _, split = rest.rpartition(":")
    if kind != "voc" or not Path(folder).name.startswith("VOC"):
        raise UserError(
            f"--dataset must be coco:ANNOTATIONS.json or voc:DEVKIT/VOC<year>:<split>, got {dataset!r}; "
            "for instance voc:data/VOCdevkit/VOC2007:test"
        )
    truth = VocDataset(Path(folder).parent, [(Path(folder).name.removeprefix("VOC"), split)])
    records = coco_ap.read_records(predictions)
    found = coco_ap.from_coco_records(records, truth, predictions)
    return score(found, truth, "voc07" if method == "11point" else "voc12")
