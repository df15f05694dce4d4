"""A detector over pictures: predictions in the pixels of each file."""

from collections.abc import Iterable
from dataclasses import replace

import torch

from detection.config import DataConfig
from detection.data.annotations import DetectionDataset
from detection.data.batching import PreparedPictures, evaluation_batches
from detection.model.detector import Detections, FasterRCNN
from detection.types import Batch, Prediction
from engine.config import RunConfig
from engine.distributed import gather_objects, rank, world_size
from engine.sampler import evaluation_shard


def predict_dataset(
    model: FasterRCNN, dataset: DetectionDataset, data: DataConfig, run: RunConfig
) -> list[Prediction]:
    """Predictions for every picture of a data set, in its order; each process does its share, all get all.

    One picture at a time, without padding beside others, because padding moves AP a little.

    Args:
        data: how pictures are resized.
        run: precision and number of workers.
    """
    shard = evaluation_shard(len(dataset), rank(), world_size())
    pictures = PreparedPictures(dataset, data.short_side, data.max_side, flip=False)
    batches = evaluation_batches(pictures, shard, workers=run.workers)
    share = [
        replace(prediction, image_id=dataset.image_ids[index])
        for index, prediction in zip(
            shard, predict(model, batches, bf16=run.precision == "bf16"), strict=True
        )
    ]
    return [prediction for part in gather_objects(share) for prediction in part]


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
