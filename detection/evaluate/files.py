"""Detectors and files: scoring weights and result files, and predictions on pictures of one's own."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.build import LoadedDetector, load_detector, open_dataset
from detection.data.batching import PreparedPictures, check_pictures, collate
from detection.data.coco_format import read_coco, read_json
from detection.data.pictures import PictureFolder
from detection.data.voc import VocDataset
from detection.evaluate import coco_ap
from detection.evaluate.predict import predict, predict_dataset
from detection.evaluate.score import coco_record, score
from detection.evaluate.visualize import draw
from detection.types import Prediction, Target
from engine.checkpoint import replace_atomically
from engine.device import resolve_device
from engine.distributed import is_main, process_group
from engine.errors import UserError
from engine.images import load_image

logger = logging.getLogger(__name__)


def score_weights(weights: Path, overrides: Sequence[str], out: Path | None) -> dict[str, Any] | None:
    """Runs a detector over the validation split it was trained with and scores it.

    Args:
        overrides: changes to its configuration, for instance "data.val=2007:test".
        out: folder for predictions.json and result.json; without it nothing is written.
    Returns:
        As `detection.evaluate.score.score`; None in processes other than the main one.
    Raises:
        UserError: no detector's weights, data missing, or a data set with other classes.
    """
    model, config, classes, _ = load_detector(weights, overrides)
    dataset = open_dataset(config.data, config.data.val)
    if dataset.classes != classes:
        raise UserError(
            f"{weights} knows the classes {', '.join(classes)}; data.val has {', '.join(dataset.classes)}: "
            "choose data to match"
        )
    check_pictures(dataset)
    device = resolve_device(config.run.device)
    with process_group(device):
        predictions = predict_dataset(model.to(device), dataset, config.data, config.run)
    if not is_main():
        return None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "predictions.json", coco_ap.to_coco_records(predictions, dataset))
    return _written(score(predictions, dataset, config.metric), out)


def score_predictions_file(
    predictions: str, dataset: str | None, method: str, out: Path | None = None
) -> dict[str, Any] | None:
    """Scores anybody's result file; no network is involved.

    Args:
        predictions: JSON list of {image_id, category_id, bbox xywh, score}; for VOC, image_id is the
            picture's name ("000012") and category_id 1…20 in alphabetical order of the classes. Or what
            `predict_pictures` writes of the set's own folder.
        dataset: "coco:ANNOTATIONS.json" or "voc:DEVKIT/VOC<year>:<split>".
        method: of VOC AP, "area" or "11point".
        out: folder for result.json; without it nothing is written.
    Returns:
        As `score_weights`.
    Raises:
        UserError: the set is not named so, or a file is missing or malformed.
    """
    if not is_main():
        return None
    kind, _, rest = (dataset or "").partition(":")
    if kind == "coco" and rest:
        annotations = read_coco(rest)
        records = _read_records(predictions, {i["file_name"]: i["id"] for i in annotations["images"]})
        return _written(coco_record(coco_ap.evaluate(annotations, records, where=predictions)), out)
    folder, _, split = rest.rpartition(":")
    if kind != "voc" or not Path(folder).name.startswith("VOC"):
        raise UserError(
            f"--dataset must be coco:ANNOTATIONS.json or voc:DEVKIT/VOC<year>:<split>, got {dataset!r}; "
            "for instance voc:data/VOCdevkit/VOC2007:test"
        )
    truth = VocDataset(Path(folder).parent, [(Path(folder).name.removeprefix("VOC"), split)])
    records = _read_records(predictions, {f"{name}.jpg": name for name in truth.image_ids})
    found = coco_ap.from_coco_records(records, truth, predictions)
    return _written(score(found, truth, "voc07" if method == "11point" else "voc12"), out)


def _read_records(path: str, image_ids: Mapping[str, int | str]) -> Any:
    """A result file's records; beside a list of `images`, with the ids that `image_ids` has by file name."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        return content
    records, images = content["annotations"], content.get("images", [])
    try:
        names = {image["id"]: image["file_name"] for image in images}
        unknown = [name for name in names.values() if name not in image_ids]
    except (KeyError, TypeError):
        raise UserError(f"{path}: images must be a list of entries with id and file_name") from None
    if unknown:
        raise UserError(
            f"{path}: picture {unknown[0]!r} is not in the data set, nor are {len(unknown) - 1} others; "
            "predict on the set's own folder of pictures"
        )
    own = {number: image_ids[name] for number, name in names.items()}
    return [
        {**record, "image_id": own.get(record["image_id"])} if own and _has_image_id(record) else record
        for record in records
    ]


def _has_image_id(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(record.get("image_id"), int | str)


def _written(result: dict[str, Any], out: Path | None) -> dict[str, Any]:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "result.json", result, indent=1)
    return result


def predict_pictures(
    pictures: Path | Sequence[Path],
    weights: Path,
    out: Path,
    *,
    threshold: float,
    limit: int | None,
    overwrite: bool,
    overrides: Sequence[str] = (),
) -> None:
    """Runs a detector over pictures and folders; writes the pictures with boxes and `predictions.json`.

    A picture that cannot be read does not stop the others; it is reported at the end. `predictions.json` is
    written whatever stops the work, with what was found until then.

    Args:
        threshold: least score that is drawn; predictions.json holds everything the detector reports.
        limit: at most so many pictures.
        overrides: changes to the detector's configuration, for instance "roi.score_threshold=0.3".
    Raises:
        UserError: no pictures, some unreadable, a folder in use, an impossible threshold or limit.
    """
    _check_options(out, threshold, limit, overwrite)
    # What it was trained on need not be here.
    detector = load_detector(weights, ["run.device=auto", *overrides])
    detector.model.to(resolve_device(detector.config.run.device))
    dataset = PictureFolder(pictures, detector.classes, detector.category_ids, limit=limit, leave_out=out)
    out.mkdir(parents=True, exist_ok=True)
    found: dict[int, tuple[Target, Prediction]] = {}
    try:
        broken = _draw_all(detector, dataset, out, threshold, found)
    finally:
        write_json(out / "predictions.json", coco_content(dataset, found))
    logger.info("%d pictures and predictions.json are in %s", len(found), out)
    if broken:
        raise UserError(
            "\n  ".join([f"{len(broken)} pictures could not be read; the others are done:", *broken[:20]])
        )


def _draw_all(
    detector: LoadedDetector,
    dataset: PictureFolder,
    out: Path,
    threshold: float,
    found: dict[int, tuple[Target, Prediction]],
) -> list[str]:
    """Fills `found` as it goes; returns what is wrong with the pictures that cannot be read."""
    broken = []
    for index, name in enumerate(dataset.image_ids):
        try:
            picture = load_image(dataset.image_path(index))
        except UserError as error:
            broken.append(str(error))
            continue
        target = dataset.empty_target(index, (picture.shape[0], picture.shape[1]))
        found[index] = target, _detect(detector, dataset, picture, target)
        file = out / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        draw(picture, found[index][1], detector.classes, score_threshold=threshold).save(file)
    return broken


def _detect(
    detector: LoadedDetector, dataset: PictureFolder, picture: NDArray[np.uint8], target: Target
) -> Prediction:
    data, run = detector.config.data, detector.config.run
    samples = PreparedPictures(dataset, data.short_side, data.max_side, flip=False)
    batch = collate([samples.prepare(picture, target, seed=0)])
    return predict(detector.model, [batch], bf16=run.precision == "bf16")[0]


def _check_options(out: Path, threshold: float, limit: int | None, overwrite: bool) -> None:
    if not 0 <= threshold <= 1:
        raise UserError(f"--threshold must be a probability from 0 to 1, got {threshold}")
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be 1 or more, got {limit}")
    if out.is_file():
        raise UserError(f"{out} is a file, expected a folder; choose another --out")
    if not overwrite and out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another --out, or pass --overwrite to write into it")


def coco_content(dataset: PictureFolder, found: Mapping[int, tuple[Target, Prediction]]) -> dict[str, Any]:
    """Predictions by index in COCO's layout: images, categories, annotations, each with its score."""
    images = [
        {"id": index + 1, "file_name": target.image_id, "height": target.size[0], "width": target.size[1]}
        for index, (target, _) in found.items()
    ]
    numbered = [replace(prediction, image_id=index + 1) for index, (_, prediction) in found.items()]
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
