"""Detectors and files: scoring weights and result files, and predictions on pictures of one's own."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detection.build import load_detector, open_dataset
from detection.data.batching import TrainingSet, evaluation_batches
from detection.data.coco_format import read_json
from detection.data.pictures import PictureFolder
from detection.data.voc import VocDataset
from detection.evaluate import coco_ap
from detection.evaluate.predict import predict, predict_dataset
from detection.evaluate.score import coco_record, score
from detection.evaluate.visualize import draw
from detection.types import Prediction
from engine.checkpoint import replace_atomically
from engine.device import resolve_device
from engine.distributed import is_main, process_group
from engine.errors import UserError
from engine.images import load_image

logger = logging.getLogger(__name__)


def score_weights(weights: Path, overrides: Sequence[str], out: Path | None) -> dict[str, Any]:
    """Runs a detector over the validation split it was trained with and scores it.

    Args:
        overrides: changes to its configuration, for instance "data.val=2007:test".
        out: folder for predictions.json and result.json; without it nothing is written.
    Raises:
        UserError: no detector's weights, data missing, or a data set with other classes.
    """
    model, config, classes = load_detector(weights, overrides)
    dataset = open_dataset(config.data, config.data.val)
    if dataset.classes != classes:
        raise UserError(
            f"{weights} knows the classes {', '.join(classes)}; data.val has {', '.join(dataset.classes)}: "
            "choose data to match"
        )
    device = resolve_device(config.run.device)
    with process_group(device):
        predictions = predict_dataset(model.to(device), dataset, config.data, config.run)
    result = score(predictions, dataset, config.metric)
    if out is not None and is_main():
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "predictions.json", coco_ap.to_coco_records(predictions, dataset))
        write_json(out / "result.json", result, indent=1)
    return result


def score_predictions_file(predictions: str, dataset: str | None, method: str) -> dict[str, Any]:
    """Scores anybody's result file; no network is involved.

    Args:
        predictions: JSON list of {image_id, category_id, bbox xywh, score}; for VOC, image_id is the
            picture's name ("000012") and category_id 1…20 in alphabetical order of the classes.
        dataset: "coco:ANNOTATIONS.json" or "voc:DEVKIT/VOC<year>:<split>".
        method: of VOC AP, "area" or "11point".
    Raises:
        UserError: the set is not named so, or a file is missing or malformed.
    """
    kind, _, rest = (dataset or "").partition(":")
    if kind == "coco" and rest:
        return coco_record(coco_ap.evaluate(rest, predictions))
    folder, _, split = rest.rpartition(":")
    if kind != "voc" or not Path(folder).name.startswith("VOC"):
        raise UserError(
            f"--dataset must be coco:ANNOTATIONS.json or voc:DEVKIT/VOC<year>:<split>, got {dataset!r}; "
            "for instance voc:data/VOCdevkit/VOC2007:test"
        )
    truth = VocDataset(Path(folder).parent, [(Path(folder).name.removeprefix("VOC"), split)])
    records = read_json(predictions)
    found = coco_ap.from_coco_records(records, truth, predictions)
    return score(found, truth, "voc07" if method == "11point" else "voc12")


def predict_pictures(
    pictures: Path, weights: Path, out: Path, *, threshold: float, limit: int | None, overwrite: bool
) -> None:
    """Runs a detector over a picture or a folder; writes the pictures with boxes and `predictions.json`.

    A picture that cannot be read does not stop the others; it is reported at the end.

    Args:
        threshold: least score that is drawn; predictions.json holds everything the detector reports.
        limit: at most so many pictures, in order of name.
    Raises:
        UserError: no pictures, some unreadable, a folder in use, an impossible threshold or limit.
    """
    _check_options(out, threshold, limit, overwrite)
    # What it was trained on need not be here, and this tool takes no overrides.
    model, config, classes = load_detector(weights, ["run.device=auto"])
    model.to(resolve_device(config.run.device))
    dataset = PictureFolder(pictures, classes, limit=limit)
    samples = TrainingSet(dataset, config.data.short_side, config.data.max_side, flip=False)
    out.mkdir(parents=True, exist_ok=True)
    found, broken = {}, []
    for index, name in enumerate(dataset.image_ids):
        try:
            batches = evaluation_batches(samples, [index])
            found[index] = predict(model, batches, bf16=config.run.precision == "bf16")[0]
        except UserError as error:
            broken.append(str(error))
            continue
        target = out / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture = load_image(dataset.image_path(index))
        draw(picture, found[index], classes, score_threshold=threshold).save(target)
    write_json(out / "predictions.json", coco_content(dataset, found))
    logger.info("%d pictures and predictions.json are in %s", len(found), out)
    if broken:
        raise UserError(
            "\n  ".join([f"{len(broken)} pictures could not be read; the others are done:", *broken[:20]])
        )


def _check_options(out: Path, threshold: float, limit: int | None, overwrite: bool) -> None:
    if not 0 <= threshold <= 1:
        raise UserError(f"--threshold must be a probability from 0 to 1, got {threshold}")
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be 1 or more, got {limit}")
    if out.is_file():
        raise UserError(f"{out} is a file, expected a folder; choose another --out")
    if not overwrite and out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another --out, or pass --overwrite to write into it")


def coco_content(dataset: PictureFolder, found: dict[int, Prediction]) -> dict[str, Any]:
    """Predictions by index in COCO's layout: images, categories, annotations, each with its score."""
    images = []
    for index in found:
        height, width = dataset.load_target(index).size
        images.append(
            {"id": index + 1, "file_name": dataset.image_ids[index], "height": height, "width": width}
        )
    numbered = [replace(prediction, image_id=index + 1) for index, prediction in found.items()]
    records = [
        {"id": number, "area": record["bbox"][2] * record["bbox"][3], "iscrowd": 0, **record}
        for number, record in enumerate(coco_ap.to_coco_records(numbered, dataset), start=1)
    ]
    categories = [
        {"id": i, "name": name} for i, name in zip(dataset.category_ids, dataset.classes, strict=True)
    ]
    return {"images": images, "categories": categories, "annotations": records}


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Writes a JSON file that is whole or absent."""
    with replace_atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent), encoding="utf-8")
