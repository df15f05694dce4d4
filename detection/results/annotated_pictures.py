"""A detector on pictures of one's own: drawn, and listed in one file."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.norm import fold_batchnorm
from detection.build import LoadedDetector, load_detector
from detection.data.detection_batches import PreparedPictures, collate
from detection.data.picture_folder import PictureFolder
from detection.metrics.record_checks import Record
from detection.predictor import predict
from detection.results.pasted_masks import mask_area
from detection.results.prediction_drawing import draw
from detection.results.result_records import to_coco_records, write_json
from detection.types import Prediction, Target
from foundation.errors import UserError
from pictures.decoding import load_image
from pictures.suffixes import is_video
from pictures.video import open_video, write_video
from training.devices import resolve_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """A picture without objects known, and what was found in it; `frame` is its number in a video."""

    target: Target
    prediction: Prediction
    frame: int | None = None


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

    A video is drawn into one too; in predictions.json each of its pictures has a number, `frame`, from 0 on.
    A picture that cannot be read does not stop the others; it is reported at the end. `predictions.json` is
    written whatever stops the work, with what was found until then.

    Args:
        threshold: least score that is drawn; predictions.json holds everything the detector reports.
        limit: at most so many pictures, and so many of each video.
        overrides: changes to the detector's configuration, for instance "roi.score_threshold=0.3".
    Raises:
        UserError: no pictures, some unreadable, a folder in use, an impossible threshold or limit.
    """
    _check_options(out, threshold, limit, overwrite)
    # What it was trained on need not be here.
    detector = load_detector(weights, ["run.device=auto", *overrides])
    detector = detector._replace(model=fold_batchnorm(detector.model))
    detector.model.to(resolve_device(detector.config.run.device))
    dataset = PictureFolder(pictures, detector.classes, detector.category_ids, limit=limit, leave_out=out)
    out.mkdir(parents=True, exist_ok=True)
    found: dict[int, Found] = {}
    try:
        broken = _draw_all(detector, dataset, out, threshold, limit, found)
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
    limit: int | None,
    found: dict[int, Found],
) -> list[str]:
    """Fills `found` as it goes; returns what is wrong with the pictures that cannot be read."""
    broken = []
    for index, name in enumerate(dataset.image_ids):
        path = dataset.image_path(index)
        file = out / f"{name}{'.mp4' if is_video(path) else '.png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            if is_video(path):
                with open_video(path) as (rate, frames):
                    drawn = _drawn_frames(detector, dataset, index, islice(frames, limit), threshold, found)
                    write_video(file, rate, drawn)
                continue
            picture = load_image(path)
        except UserError as error:
            broken.append(str(error))
            continue
        found[index] = _detect(detector, dataset, index, picture)
        draw(picture, found[index].prediction, detector.classes, score_threshold=threshold).save(file)
    return broken


def _drawn_frames(
    detector: LoadedDetector,
    dataset: PictureFolder,
    index: int,
    frames: Iterator[NDArray[np.uint8]],
    threshold: float,
    found: dict[int, Found],
) -> Iterator[NDArray[np.uint8]]:
    """The pictures of one video, drawn; fills `found` after the numbers of all files."""
    first = max([len(dataset) - 1, *found]) + 1
    for number, frame in enumerate(frames):
        one = replace(_detect(detector, dataset, index, frame), frame=number)
        found[first + number] = one
        yield np.asarray(draw(frame, one.prediction, detector.classes, score_threshold=threshold))


def _detect(
    detector: LoadedDetector, dataset: PictureFolder, index: int, picture: NDArray[np.uint8]
) -> Found:
    target = dataset.empty_target(index, (picture.shape[0], picture.shape[1]))
    data, run = detector.config.data, detector.config.run
    samples = PreparedPictures(dataset, data, training=False)
    batch = collate([samples.prepare(picture, target, seed=0)])
    return Found(target, predict(detector.model, [batch], bf16=run.precision == "bf16")[0])


def _check_options(out: Path, threshold: float, limit: int | None, overwrite: bool) -> None:
    if not 0 <= threshold <= 1:
        raise UserError(f"--threshold must be a probability from 0 to 1, got {threshold}")
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be 1 or more, got {limit}")
    if out.is_file():
        raise UserError(f"{out} is a file, expected a folder; choose another --out")
    if not overwrite and out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another --out, or pass --overwrite to write into it")


def coco_content(dataset: PictureFolder, found: Mapping[int, Found]) -> dict[str, Any]:
    """Predictions by index in COCO's layout: images, categories, annotations, each with its score."""
    images = []
    for index, one in found.items():
        height, width = one.target.size
        image = {"id": index + 1, "file_name": one.target.image_id, "height": height, "width": width}
        images.append(image if one.frame is None else {**image, "frame": one.frame})
    numbered = [replace(one.prediction, image_id=index + 1) for index, one in found.items()]
    records = [
        {"id": number, "area": _area(record), "iscrowd": 0, **record}
        for number, record in enumerate(to_coco_records(numbered, dataset), start=1)
    ]
    categories = [
        {"id": i, "name": name} for i, name in zip(dataset.category_ids, dataset.classes, strict=True)
    ]
    return {"images": images, "categories": categories, "annotations": records}


def _area(record: Record) -> float:
    if "segmentation" in record:
        return mask_area(record["segmentation"])
    return record["bbox"][2] * record["bbox"][3]
