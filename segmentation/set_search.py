"""The label maps of every picture of a set, one after the other, each process its share."""

from collections.abc import Callable

import torch
from torch import Tensor

from backbones.norm import inference_copy
from segmentation.config import SegmentationConfig
from segmentation.data.segmentation_batches import LabelledPictures, evaluation_batches
from segmentation.label_search import search_labels
from segmentation.model.segmenter import Segmenter
from segmentation.types import Batch, SegmentationDataset
from training.devices import rank, world_size
from training.loader import evaluation_shard
from training.progress.progress_bar import watched

# Takes the picture's number, what was found and the truth, both (H, W) uint8 on the network's device.
Use = Callable[[int, Tensor, Tensor], None]


@torch.inference_mode()
def search_set(
    network: Segmenter, dataset: SegmentationDataset, config: SegmentationConfig, use: Use
) -> None:
    """Finds the classes of all pixels of this process's share of the pictures.

    Args:
        network: in any mode, which it keeps; a copy of `folded_for_search` computes.
    """
    folded = folded_for_search(network)
    device = next(folded.parameters()).device
    shard = evaluation_shard(len(dataset), rank(), world_size())
    pictures = LabelledPictures(dataset, config.data, training=False)
    loaded = evaluation_batches(pictures, shard, workers=config.run.workers)
    batches = watched(loaded, len(shard), unit="picture", title="segmentation")
    for index, batch in zip(shard, batches, strict=True):
        on_device = batch.to(device)
        use(index, search_batch(folded, on_device, config), on_device.labels[0])


@torch.inference_mode()
def search_batch(folded: Segmenter, batch: Batch, config: SegmentationConfig) -> Tensor:
    """The label map (H, W) uint8 of a batch of one picture, on the device of the network."""
    return search_labels(
        folded,
        batch.images[0],
        config.testing,
        short_side=config.data.short_side,
        bf16=config.run.precision == "bf16",
    )


def folded_for_search(network: Segmenter) -> Segmenter:
    """An `inference_copy` without the auxiliary head."""
    aux, network.aux_classifier = network.aux_classifier, None
    try:
        folded: Segmenter = inference_copy(network)
    finally:
        network.aux_classifier = aux
    return folded
