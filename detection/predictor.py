"""A detector over pictures: predictions in the pixels of each file."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.norm import inference_copy
from detection.data.annotations import DetectionDataset
from detection.data.dataset_splits import DataConfig
from detection.data.detection_batches import PreparedPictures, evaluation_batches
from detection.heads.candidates import Detections
from detection.improve.detector_panel import DetectorPanel
from detection.improve.improved_predictions import Improver
from detection.model.detector import FasterRCNN
from detection.results.pasted_masks import paste_masks
from detection.types import Batch, Prediction
from pictures.decoding import load_image
from training.config import RunConfig
from training.devices import fetch, gather_objects, rank, world_size
from training.graph import GraphedFunction
from training.loader import BatchLoader, Item, evaluation_shard
from training.progress.progress_bar import watched
from training.progress.remaining_time import seconds_each

Network = FasterRCNN | DetectorPanel
TRIED = 5  # pictures, to guess how long all of a set take


def predict_dataset(
    model: Network,
    dataset: DetectionDataset,
    data: DataConfig,
    run: RunConfig,
    improver: Improver | None = None,
) -> list[Prediction]:
    """Predictions for every picture of a data set, in its order; each process does its share, all get all.

    One picture at a time, without padding beside others, because padding moves AP a little; by an
    `inference_copy` of the network. An improver looks at each more than once.
    """
    shard = evaluation_shard(len(dataset), rank(), world_size())
    how: dict[str, Any] = {"bf16": run.precision == "bf16", "cuda_graph": run.cuda_graph}
    bar: dict[str, Any] = {"count": len(shard), "unit": "picture", "title": "evaluation"}
    if improver is None:
        pictures = PreparedPictures(dataset, data, training=False)
        batches = watched(evaluation_batches(pictures, shard, workers=run.workers), **bar)
        found = predict(inference_copy(model), batches, **how)
    else:
        decoded = BatchLoader(partial(_decoded, dataset), [[Item(index, 0)] for index in shard], run.workers)
        pixels = (picture.numpy() for picture in watched(decoded, **bar))
        found = list(predict_improved(inference_copy(model), pixels, improver, **how))
    share = [replace(one, image_id=dataset.image_ids[i]) for i, one in zip(shard, found, strict=True)]
    return [prediction for part in gather_objects(share) for prediction in part]


def guess_evaluation(
    model: Network,
    dataset: DetectionDataset,
    data: DataConfig,
    run: RunConfig,
    improver: Improver | None = None,
) -> float:
    """How many seconds `predict_dataset` will take, from the first pictures of the data set."""
    network, first, bf16 = inference_copy(model), range(min(len(dataset), TRIED)), run.precision == "bf16"
    items: Iterable[Any]
    if improver is None:
        items = evaluation_batches(PreparedPictures(dataset, data, training=False), first)
    else:
        items = (_decoded(dataset, [Item(index, 0)]) for index in first)

    def find(item: Any) -> None:
        if improver is None:
            predict(network, [item], bf16=bf16)
        else:
            list(predict_improved(network, [item.numpy()], improver, bf16=bf16))

    return len(dataset) / world_size() * seconds_each(items, find, workers=run.workers)


def _decoded(dataset: DetectionDataset, items: Sequence[Item]) -> Tensor:
    """(H, W, 3) of the only one of the items; a tensor, since loaders turn arrays into tensors anyway."""
    (item,) = items
    size = dataset.load_target(item.index).size
    return torch.from_numpy(load_image(dataset.image_path(item.index), size))


def predict_improved(
    model: Network,
    pictures: Iterable[NDArray[np.uint8]],
    improver: Improver,
    *,
    bf16: bool,
    cuda_graph: bool = False,
) -> Iterator[Prediction]:
    """What an improver finds in each of the pictures (H, W, 3) RGB, with a network in evaluation."""
    assert isinstance(model, DetectorPanel)  # see `answering`
    network, masks_of = _network(model, bf16, cuda_graph), partial(_masks_of, model, bf16=bf16)
    for pixels in pictures:
        with torch.inference_mode():
            yield improver.find(network, pixels, masks_of)


def _network(model: Network, bf16: bool, cuda_graph: bool) -> Callable[..., Detections]:
    """What finds the objects of a batch, or of the same pictures at several sizes."""
    network: Callable[..., Detections] = partial(detect, model, bf16=bf16)
    return GraphedFunction(network, next(model.parameters()).device) if cuda_graph else network


def _masks_of(model: DetectorPanel, boxes: Tensor, labels: Tensor, *batches: Batch, bf16: bool) -> Tensor:
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return model.masks(boxes.to(device), labels.to(device), *(batch.to(device) for batch in batches))


@torch.inference_mode()
def predict(
    model: Network, batches: Iterable[Batch], *, bf16: bool, cuda_graph: bool = False
) -> list[Prediction]:
    """Predictions for every picture of the batches, in order; leaves the network in its mode.

    While the network sees one batch, a thread turns the detections of the batch before into predictions.
    With cuda_graph a GPU captures the network for each shape of batch and replays it, until the end.
    """
    network = _network(model, bf16, cuda_graph)
    was_training = model.training
    model.eval()
    predictions: list[Prediction] = []
    with ThreadPoolExecutor(max_workers=1) as thread:
        before = None
        for batch in batches:
            # The copy is in the stream before the next replay, which writes to the same memory.
            found = network(batch.without_objects())
            copies, wait = fetch(value for value in found if value is not None)
            if before is not None:
                predictions += before.result()
            before = thread.submit(_when_copied, Detections(*copies), wait, batch)
        if before is not None:
            predictions += before.result()
    model.train(was_training)
    return predictions


def detect(model: Network, *batches: Batch, bf16: bool) -> Detections:
    """What a network in evaluation finds in a batch, on the network's device."""
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return model(*(batch.to(device) for batch in batches))


def _when_copied(detections: Detections, wait: Callable[[], None], batch: Batch) -> list[Prediction]:
    wait()
    return to_predictions(detections, batch)


@torch.inference_mode()  # a thread begins without it
def to_predictions(detections: Detections, batch: Batch) -> list[Prediction]:
    """Detections in resized pixels, on the CPU → one Prediction per picture in the pixels of its file."""
    scale = torch.stack([batch.scales[:, 1], batch.scales[:, 0]] * 2, dim=1)  # x y x y
    predictions = []
    for i, valid in enumerate(detections.valid):
        boxes, masks = detections.boxes[i][valid] / scale[i], None
        if detections.masks is not None:
            height, width = (batch.sizes[i] / batch.scales[i]).round().int().tolist()
            masks = paste_masks(detections.masks[i][valid], boxes, (height, width))
        labels, scores = detections.labels[i][valid], detections.scores[i][valid]
        predictions.append(Prediction(boxes, labels, scores, masks=masks))
    return predictions
