"""Training the networks of localization: configuration → pictures and network → loop → run folder."""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones import save_weights
from backbones.weights.downloads import digest
from backbones.weights.weight_files import require_weights
from detection.build import network_facts
from detection.data.annotations import require_truth
from detection.data.dataset_splits import open_dataset
from detection.data.detection_batches import check_pictures
from detection.detector_pictures import DetectorPictures
from detection.localization.box_lists import BoxLists, load_lists
from detection.localization.class_guesses import best_boxes
from detection.localization.localization_config import LocalizationConfig
from detection.localization.localization_result import judge_pictures, localization_result
from detection.localization.localizer import Localizer, RegionLocalizer
from detection.localization.localizer_files import (
    build_localizer,
    load_localizer,
    localizer_header,
)
from detection.localization.object_crops import ObjectCrops
from detection.localization.one_class_pictures import OneClassPictures
from detection.localization.picture_search import search
from detection.localization.region_crops import DrawnRegions, RegionBatch
from detection.types import Batch
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
from training.loader import BatchLoader, TrainSampler, read_once
from training.run import Evaluation, Task, train
from training.run_folder import PER_PICTURE, open_run
from training.schedule import in_steps
from training.seeding import seed_everything

logger = logging.getLogger(__name__)
Proposals = Callable[[], tuple[BoxLists, BoxLists]]


def train_localizer(
    config: LocalizationConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Trains one of the two networks in the run folder `out`; the same configuration gives the same run.

    Returns:
        What result.json holds; see `training.run.train` and `localization_result`.
    Raises:
        UserError: data, weights or the folder are not as needed, or the loss is not finite.
    """
    device = resolve_device(config.run.device)
    opened = cache(partial(open_pictures, config))
    config = in_steps(config, lambda: len(opened(config.data.train)))
    with process_group(device), open_run(out, config, resume=resume, overwrite=overwrite) as folder:
        if folder.result is not None:
            return folder.result
        training, validation = opened(config.data.train), opened(config.data.val)
        if training.classes != validation.classes:
            raise UserError(
                f"data.train has {len(training.classes)} classes and data.val {len(validation.classes)}, or "
                "their names differ; expected the same in the same order"
            )
        for pictures, name in ((training, config.data.train), (validation, config.data.val)):
            require_truth(pictures, name)
            check_pictures(pictures)
        to_train, classes = (
            plural(len(training), "picture"),
            plural(len(training.classes), "class", "classes"),
        )
        logger.info("%s to train on, %d to validate, %s", to_train, len(validation), classes)
        if config.backbone.weights is not None and folder.network is None:
            require_weights(config.backbone.weights)  # a failing download is told before pictures are read
        read = partial(_read_picture, validation)
        read_once(read, len(validation), config.run.workers, what="validation pictures")
        proposals: Proposals | None = None
        if config.step == "rcnn":
            _check_rpn(config, training)
            # Searched when the run has begun, which may take hours: a killed run goes on with --resume.
            proposals = cache(partial(_proposals, config, training, validation, out, device))
        seed_everything(config.run.seed)
        model = build_localizer(config, len(training.classes), folder.network).to(device)
        return train(localization_task(config, model, training, validation, out, proposals), config, folder)


def open_pictures(config: LocalizationConfig, split: str) -> OneClassPictures:
    """The pictures of a split that localization is about."""
    dataset = open_dataset(config.data.source(), split)
    return OneClassPictures(dataset, split, config.data.pictures_of)


def _read_picture(pictures: OneClassPictures, index: int) -> None:
    load_image(pictures.image_path(index), pictures.load_target(index).size)


def _check_rpn(config: LocalizationConfig, training: OneClassPictures) -> None:
    """Refuses, with a UserError, weights that are of no RPN of the training's classes."""
    source = config.regions.proposals
    assert source is not None
    model, _, classes = load_localizer(source)
    if isinstance(model, RegionLocalizer) or classes != training.classes:
        raise UserError(
            f"regions.proposals={source} is no RPN of these classes; give the best.safetensors of a training "
            "with step=rpn on this set"
        )


def _proposals(
    config: LocalizationConfig,
    training: OneClassPictures,
    validation: OneClassPictures,
    out: Path,
    device: torch.device,
) -> tuple[BoxLists, BoxLists]:
    """The RPN's boxes of the true class in both splits, kept in the run folder for a continued run.

    Those of other weights, in a folder that is overwritten, are made anew.
    """
    source = config.regions.proposals
    assert source is not None
    about = {"weights": source, "sha256": digest(Path(source))}
    made = []
    for name, pictures in (("train", training), ("val", validation)):
        file = out / f"proposals_{name}.npz"
        if not broadcast_object(is_main() and file.is_file() and load_lists(file).about == about):
            overrides = [f"run.device={config.run.device}", f"run.workers={config.run.workers}"]
            model, own, _ = load_localizer(source, overrides)
            wanted = [[label] for label in pictures.image_labels]
            lists = search(model.to(device), pictures, wanted, own, about)
            if is_main():
                lists.save(file)
            broadcast_object(None)  # nobody reads before it is written
        made.append(load_lists(file))
    return made[0], made[1]


def localization_task(
    config: LocalizationConfig,
    model: Localizer,
    training: OneClassPictures,
    validation: OneClassPictures,
    out: Path,
    proposals: Proposals | None,
) -> Task:
    """What `training.run.train` needs to know; the model gets the run's memory format.

    Args:
        proposals: gives those of the training and of the validation pictures, for R-CNN alone.
    """
    run = config.run
    layout = convolution_layout(next(model.parameters()).device, run.channels_last)
    model.to(memory_format=layout)
    pictures = None
    if run.pictures and is_main() and proposals is None:
        pictures = DetectorPictures(out, training, validation)

    def batches(step: int) -> Iterable[Any]:
        reader: Callable[..., Any] = (
            ObjectCrops(training, config.data).read
            if proposals is None
            else DrawnRegions(training, proposals()[0], config.data, config.regions).read
        )
        sampler = TrainSampler(
            len(training),
            config.optim.batch_size,
            seed=run.seed,
            rank=rank(),
            world_size=world_size(),
            accumulate=config.optim.accumulate,
            start_step=step,
        )
        loaded = BatchLoader(reader, sampler, run.workers)
        return pictures.of_start(loaded) if pictures is not None and step == 0 else loaded

    def losses(network: nn.Module, batch: Batch | RegionBatch) -> dict[str, Tensor]:
        return network(batch)

    def evaluate() -> Evaluation:
        wanted = [[label] for label in validation.image_labels]
        lists = search(model, validation, wanted, config, {}, None if proposals is None else proposals()[1])
        judged = judge_pictures(lists, validation, None)
        result = localization_result(judged)
        if is_main():
            judged.save(out / PER_PICTURE)
        if pictures is not None:
            pictures.keep(best_boxes(lists, validation, wanted))
        return Evaluation(result["scores"]["oracle_error"], result, fractions=True)

    def save(path: Path, scores: Mapping[str, float]) -> None:
        ids = training.category_ids
        save_weights(
            path,
            model.state_dict(),
            localizer_header(model, config, training.classes, scores, category_ids=ids),
        )

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
    )
