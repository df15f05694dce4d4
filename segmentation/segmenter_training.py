"""Training a network for semantic segmentation: configuration → data and network → loop → run folder."""

import logging
import math
from collections.abc import Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones import save_weights
from backbones.weights.weight_files import require_weights
from foundation.errors import UserError, plural
from pictures.decoding import load_image
from segmentation.build import build_segmenter, segmenter_facts, trained_header
from segmentation.config import SegmentationConfig
from segmentation.data.segmentation_batches import LabelledPictures, evaluation_batches, training_batches
from segmentation.data.segmentation_sets import check_set, open_set
from segmentation.metrics.confusion_matrix import ConfusionMatrix
from segmentation.model.map_sizes import pad_to_cells
from segmentation.model.segmenter import Segmenter
from segmentation.pixel_losses import segmentation_losses
from segmentation.results.counted_pictures import name_pictures
from segmentation.results.segmentation_result import segmentation_result
from segmentation.results.segmenter_pictures import SegmenterPictures
from segmentation.set_search import folded_for_search, search_batch, search_set
from segmentation.types import IGNORED, Batch, SegmentationDataset
from training.devices import convolution_layout, is_main, process_group, rank, resolve_device, world_size
from training.loader import read_once
from training.progress.remaining_time import seconds_each
from training.run import Evaluation, Task, train
from training.run_folder import PER_PICTURE, open_run
from training.schedule import in_steps
from training.seeding import seed_everything

logger = logging.getLogger(__name__)
TRIED = 3  # pictures, to guess how long an evaluation takes


def train_segmenter(
    config: SegmentationConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Trains a network in the run folder `out`; the same configuration always gives the same run.

    Returns:
        What result.json holds; see `training.run.train` and `segmentation_result`.
    Raises:
        UserError: data, weights or the folder are not as needed, or the loss is not finite.
    """
    device = resolve_device(config.run.device)
    opened = cache(partial(open_set, config.data))
    config = in_steps(config, lambda: len(opened(config.data.train)))
    with process_group(device), open_run(out, config, resume=resume, overwrite=overwrite) as folder:
        if folder.result is not None:
            return folder.result
        training, validation = opened(config.data.train), opened(config.data.val)
        _check_sets(config, training, validation)
        to_train, classes = (
            plural(len(training), "picture"),
            plural(len(training.classes), "class", "classes"),
        )
        logger.info("%s to train on, %d to validate, %s", to_train, len(validation), classes)
        start = config.model.weights or config.model.backbone_weights
        if start is not None and folder.network is None:
            require_weights(start)  # a failing download is told before pictures are read
        for dataset in (training, validation):
            check_set(dataset, config.run.workers)
        read = partial(_read_picture, validation)
        read_once(read, len(validation), config.run.workers, what="validation pictures")
        seed_everything(config.run.seed)
        network = build_segmenter(config, training.classes, folder.network).to(device)
        return train(segmentation_task(config, network, training, validation, out), config, folder)


def _check_sets(
    config: SegmentationConfig, training: SegmentationDataset, validation: SegmentationDataset
) -> None:
    if training.classes != validation.classes:
        raise UserError(
            f"data.train has {len(training.classes)} classes and data.val {len(validation.classes)}, or "
            "their names differ; expected the same in the same order"
        )
    for dataset, name in ((training, config.data.train), (validation, config.data.val)):
        if not dataset.has_truth:
            raise UserError(
                f"{name} has no label maps, so that nothing can be trained or scored on it; take a split "
                "that has, and write this one's for its server with tools/eval_seg.py --masks FOLDER "
                "data.val=SPLIT"
            )
    if (given := len(config.loss.class_weights)) not in (0, len(training.classes)):
        raise UserError(
            f"loss.class_weights has {given} numbers, and the set {len(training.classes)} classes "
            f"({', '.join(training.classes[:5])} …); give one for each, in this order"
        )


def _read_picture(dataset: SegmentationDataset, index: int) -> None:
    load_image(dataset.image_path(index), dataset.image_size(index))


def network_input(network: Segmenter, batch: Batch) -> Tensor:
    """(N, 3, H, W) normalised, padded to whole cells; padding is the mean colour, 0, as that of convolutions.

    Black padding would be as far from it as a picture gets, and the statistics of batch normalisation, which
    see the padding, would fit whole pictures worse.
    """
    images = network.input_spec.normalise(batch.images)
    height, width = batch.sizes.view(-1, 2, 1, 1, 1).unbind(dim=1)
    rows, columns = (torch.arange(side, device=images.device) for side in images.shape[2:])
    images = images.masked_fill((rows[:, None] >= height) | (columns >= width), 0)
    return pad_to_cells(images, network.stride)


def segmentation_task(
    config: SegmentationConfig,
    network: Segmenter,
    training: SegmentationDataset,
    validation: SegmentationDataset,
    out: Path,
) -> Task:
    """What `training.run.train` needs to know; the network gets the run's memory format."""
    run, optim = config.run, config.optim
    layout = convolution_layout(next(network.parameters()).device, run.channels_last)
    network.to(memory_format=layout)
    samples = LabelledPictures(training, config.data, training=True)
    pictures = SegmenterPictures(out, training, validation) if run.pictures and is_main() else None
    fingerprint = validation.fingerprint()  # which reads every label map

    def batches(step: int) -> Iterable[Batch]:
        loaded = training_batches(
            samples,
            optim.batch_size,
            seed=run.seed,
            workers=run.workers,
            rank=rank(),
            world_size=world_size(),
            accumulate=optim.accumulate,
            start_step=step,
        )
        return pictures.of_start(loaded) if pictures is not None and step == 0 else loaded

    def losses(module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        images = network_input(network, batch).contiguous(memory_format=layout)
        labels = pad_to_cells(batch.labels, network.stride, IGNORED)
        return segmentation_losses(module(images), labels, config.loss)

    def evaluate() -> Evaluation:
        matrix = ConfusionMatrix(len(validation.classes))

        def use(index: int, found: Tensor, truth: Tensor) -> None:
            matrix.add(found, truth)
            if pictures is not None:
                pictures.keep(index, found)

        search_set(network, validation, config, use)
        counted = matrix.merged_pictures()
        result = segmentation_result(matrix.merged(), validation.classes, counted)
        if is_main():
            name_pictures(validation, fingerprint, counted).save(out / PER_PICTURE)
        mean = result["scores"]["mIoU"]
        return Evaluation(math.nan if mean is None else -mean, result, fractions=True)

    def guess() -> float:
        folded, device = folded_for_search(network), next(network.parameters()).device
        tried = range(min(TRIED, len(validation)))
        items = evaluation_batches(LabelledPictures(validation, config.data, training=False), tried)

        def use(batch: Batch) -> None:
            search_batch(folded, batch.to(device), config)

        return len(validation) / world_size() * seconds_each(items, use, workers=run.workers)

    def save(path: Path, scores: Mapping[str, float]) -> None:
        save_weights(path, network.state_dict(), trained_header(network, config, training.classes, scores))

    return Task(
        model=network,
        batches=batches,
        losses=losses,
        evaluate=evaluate,
        save_weights=save,
        draw=None if pictures is None else pictures.draw,
        data={
            "training pictures": len(training),
            "validation pictures": len(validation),
            "classes": training.classes,
            "training label maps": training.fingerprint(),
            "validation label maps": fingerprint,
        },
        network=segmenter_facts(network),
        pictures=len(training),
        guess_seconds=guess,
    )
