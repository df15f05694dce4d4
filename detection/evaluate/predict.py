"""A detector over pictures: predictions in the pixels of each file."""

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from detection.build import load_detector
from detection.config import DataConfig
from detection.data.annotations import DetectionDataset
from detection.data.batching import TrainingSet, evaluation_batches
from detection.data.pictures import PictureFolder
from detection.evaluate.coco_ap import to_coco_records
from detection.evaluate.visualize import draw
from detection.model.detector import Detections, FasterRCNN
from detection.types import Batch, Prediction
from engine import distributed
from engine.checkpoint import replace_atomically
from engine.config import RunConfig
from engine.device import resolve_device
from engine.errors import UserError
from engine.images import load_image
from engine.sampler import evaluation_shard

_log = logging.getLogger(__name__)


def predict_dataset(
    model: FasterRCNN, dataset: DetectionDataset, data: DataConfig, run: RunConfig
) -> list[Prediction]:
    """Predictions for every picture of a data set, in its order; each process does its share, all get all.

    One picture at a time, without padding beside others, because padding moves AP a little.

    Args:
        data: how pictures are resized.
        run: precision and number of workers.
    """
    shard = evaluation_shard(len(dataset), distributed.rank(), distributed.world_size())
    pictures = TrainingSet(dataset, data.short_side, data.max_side, flip=False)
    batches = evaluation_batches(pictures, shard, workers=run.workers)
    share = [
        replace(prediction, image_id=dataset.image_ids[index])
        for index, prediction in zip(shard, predict(model, batches, bf16=run.precision == "bf16"), strict=True)
    ]
    return [prediction for part in distributed.gather_objects(share) for prediction in part]


@torch.inference_mode()
def predict(model: FasterRCNN, batches: Iterable[Batch], *, bf16: bool) -> list[Prediction]:
    """Predictions for every picture of the batches, in order; leaves the network in its mode."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    predictions = []
    for batch in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            detections = model(batch.to(device))
        predictions += to_predictions(detections, batch)
    model.train(was_training)
    return predictions


def to_predictions(detections: Detections, batch: Batch) -> list[Prediction]:
    """Fixed-shape detections in resized pixels → one Prediction per picture in the pixels of its file.

    The only transfer from the device: everything before it has fixed shapes.
    """
    scale = torch.stack([batch.scales[:, 1], batch.scales[:, 0]] * 2, dim=1)  # x y x y
    boxes, labels, scores, valid = (
        value.cpu() for value in (detections.boxes, detections.labels, detections.scores, detections.valid)
    )
    return [
        Prediction(boxes[i][valid[i]] / scale[i], labels[i][valid[i]], scores[i][valid[i]])
        for i in range(len(boxes))
    ]


def predict_pictures(
    pictures: Path, weights: Path, out: Path, *, threshold: float, limit: int | None, overwrite: bool
) -> None:
    """Runs a detector over a picture or a folder; writes the pictures with boxes and `predictions.json`.

    A picture that cannot be read does not stop the others; it is reported at the end.

    Args:
        threshold: least score that is drawn; predictions.json holds everything the detector reports.
        limit: at most so many pictures, in order of name.
    Raises:
        UserError: no pictures, some unreadable, a folder in use, or a threshold that is no probability.
    """
    if not 0 <= threshold <= 1:
        raise UserError(f"--threshold must be a probability from 0 to 1, got {threshold}")
    if not overwrite and out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another --out, or pass --overwrite to write into it")
    model, config, classes = load_detector(weights)
    model.to(resolve_device(config.run.device))
    dataset = PictureFolder(pictures, classes, limit=limit)
    samples = TrainingSet(dataset, config.data.short_side, config.data.max_side, flip=False)
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
        draw(load_image(dataset.image_path(index)), _above(found[index], threshold), classes).save(target)
    _write_json(out / "predictions.json", dataset, found)
    _log.info("%d pictures and predictions.json are in %s", len(found), out)
    if broken:
        raise UserError("\n  ".join([f"{len(broken)} pictures could not be read; the others are done:", *broken[:20]]))


def _above(prediction: Prediction, threshold: float) -> Prediction:
    chosen = prediction.scores >= threshold
    return Prediction(prediction.boxes[chosen], prediction.labels[chosen], prediction.scores[chosen])


def _write_json(path: Path, dataset: PictureFolder, found: dict[int, Prediction]) -> None:
    """COCO's layout (images, categories, annotations), each annotation with its score."""
    images = []
    for index in found:
        height, width = dataset.load_target(index).size
        images.append({"id": index + 1, "file_name": dataset.image_ids[index], "height": height, "width": width})
    numbered = [replace(prediction, image_id=index + 1) for index, prediction in found.items()]
    records = [
        {"id": number, "area": record["bbox"][2] * record["bbox"][3], "iscrowd": 0, **record}
        for number, record in enumerate(to_coco_records(numbered, dataset), start=1)
    ]
    categories = [
        {"id": i, "name": name} for i, name in zip(dataset.category_ids, dataset.classes, strict=True)
    ]
    with replace_atomically(path) as temporary:
        temporary.write_text(json.dumps({"images": images, "categories": categories, "annotations": records}))
