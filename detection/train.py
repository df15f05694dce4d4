"""Fine-tuning a detector: configuration → data and detector → loop → run folder."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones import save_weights
from backbones.weights.weight_files import require_weights
from detection.alternate import Alternation
from detection.build import detector_header, network_facts
from detection.config import DetectionConfig
from detection.data.annotations import DetectionDataset, require_truth
from detection.data.detection_batches import PreparedPictures, check_pictures, training_batches
from detection.detector_pictures import DetectorPictures
from detection.improve.improve_options import ONE_LOOK
from detection.improve.improved_predictions import answering
from detection.model.detector import FasterRCNN
from detection.own_sets.split_opener import SplitOpener
from detection.predictor import guess_evaluation, predict_dataset
from detection.published_detectors import refuse_detector
from detection.results.metrics_by_name import METRICS, score
from detection.results.result_records import to_coco_records
from detection.starting_weights import source_detector, starting_detector
from detection.types import Batch, Prediction
from foundation.atomic_files import write_json
from foundation.errors import UserError, plural
from pictures.decoding import load_image
from training.devices import (
    broadcast_object,
    convolution_layout,
    is_main,
    process_group,
    rank,
    resolve_device,
    world_size,
)
from training.loader import read_once
from training.run import Evaluation, Task, train
from training.run_folder import open_run
from training.schedule import in_steps
from training.seeding import seed_everything

logger = logging.getLogger(__name__)


def finetune(
    config: DetectionConfig,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    opened: SplitOpener | None = None,
) -> dict[str, Any]:
    """Trains a detector in the run folder `out`; the same configuration always gives the same run.

    Args:
        opened: what was opened of the set before.
    Returns:
        What result.json holds; see `training.run.train` and `detection.results.metrics_by_name.score`.
    Raises:
        UserError: data, weights or the folder are not as needed, or the loss is not finite.
    """
    device = resolve_device(config.run.device)
    joint = config.training == "joint"
    opened = opened or SplitOpener()
    open_training = partial(opened, config.data, config.data.train, masks=config.detector.mask)
    config = in_steps(config, lambda: len(open_training()))
    with (
        process_group(device),
        open_run(out, config, resume=resume, overwrite=overwrite, may_lengthen=joint) as folder,
    ):
        if folder.result is not None:
            return folder.result
        training = open_training()
        # What scoring masks will need is checked now, not at the first evaluation.
        scored = config.detector.mask and METRICS[config.metric].masks
        validation = opened(config.data, config.data.val, masks=scored)
        opened.release()
        if training.classes != validation.classes:
            raise UserError(
                f"data.train has the classes {', '.join(training.classes)}; data.val has "
                f"{', '.join(validation.classes)}; expected the same in the same order"
            )
        for dataset, name in ((training, config.data.train), (validation, config.data.val)):
            require_truth(dataset, name)
            check_pictures(dataset)
        to_train, classes = (
            plural(len(training), "picture"),
            plural(len(training.classes), "class", "classes"),
        )
        logger.info("%s to train on, %d to validate, %s", to_train, len(validation), classes)
        if config.backbone.weights is not None and folder.network is None:
            refuse_detector(config.backbone.weights)
            require_weights(config.backbone.weights)  # a failing download is told before pictures are read
        if config.model.weights is not None and folder.network is None:
            source_detector(config.model.weights, config, training.classes)  # nor is what does not fit
        check_scoring(validation, config)
        seed_everything(config.run.seed)
        if not joint:
            return Alternation(config, training, validation, out, device, detection_task).run(folder)
        model = starting_detector(config, training.classes, folder.network).to(device)
        return train(detection_task(config, model, training, validation, out), config, folder)


def check_scoring(validation: DetectionDataset, config: DetectionConfig) -> None:
    """Reads every validation picture, and scores a detector that finds nothing.

    What would end the first evaluation, hours into a training, ends it before the first step.

    Raises:
        UserError: a picture is broken, or the annotations cannot be scored.
    """
    read = partial(_read_picture, validation)
    read_once(read, len(validation), config.run.workers, what="validation pictures")
    nothing = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    predictions = [Prediction(*nothing, image_id=image_id) for image_id in validation.image_ids]
    if is_main():
        score(predictions, validation, config.metric)


def _read_picture(dataset: DetectionDataset, index: int) -> None:
    load_image(dataset.image_path(index), dataset.load_target(index).size)


def detection_task(
    config: DetectionConfig,
    model: FasterRCNN,
    training: DetectionDataset,
    validation: DetectionDataset,
    out: Path,
) -> Task:
    """What `training.run.train` needs to know of detection; the model gets the run's memory format."""
    run, optim = config.run, config.optim
    samples = PreparedPictures(
        training, config.data, masks=config.detector.mask, few_shapes=config.run.cuda_graph
    )
    layout = convolution_layout(next(model.parameters()).device, run.channels_last)
    model.to(memory_format=layout)

    pictures = DetectorPictures(out, training, validation) if run.pictures and is_main() else None

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

    def losses(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return network(replace(batch, images=batch.images.contiguous(memory_format=layout)))

    def evaluate() -> Evaluation:
        network, improver = answering([model], [config], ONE_LOOK)
        predictions = predict_dataset(network, validation, config.data, run, improver)
        result = broadcast_object(score(predictions, validation, config.metric) if is_main() else {})
        if is_main():
            write_json(out / "predictions.json", to_coco_records(predictions, validation))
        if pictures is not None:
            pictures.keep(predictions)
        main = result["scores"][METRICS[config.metric].main]
        return Evaluation(math.nan if main is None else -main, result, fractions=True)

    def guess() -> float:
        network, improver = answering([model], [config], ONE_LOOK)
        return guess_evaluation(network, validation, config.data, run, improver)

    def save(path: Path, scores: Mapping[str, float]) -> None:
        ids = training.category_ids
        header = detector_header(model, config, training.classes, scores, category_ids=ids)
        save_weights(path, model.state_dict(), header)

    return Task(
        model=model,
        batches=batches,
        losses=losses,
        evaluate=evaluate,
        save_weights=save,
        draw=None if pictures is None else pictures.draw,
        data={
            "training pictures": len(training),
            "validation pictures": len(validation),
            "classes": training.classes,
            "training annotations": training.fingerprint(),
            "validation annotations": validation.fingerprint(),
        },
        network=network_facts(model),
        pictures=len(training),
        guess_seconds=guess,
        # Until 0.1.0 all pictures of a step had one orientation, now those of a micro-batch.
        order=1 if world_size() * optim.accumulate == 1 else 2,
    )
