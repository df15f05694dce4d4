"""Pretraining: configuration → data and network → loop → run folder; also several on one device."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from torch import Tensor, nn

from backbones import WeightsHeader, read_weights, save_weights
from backbones.norm import norm_eps, set_norm_eps
from backbones.spec import Network
from backbones.weights.weight_files import require_weights
from classification.block_subsets import BlockSubsets
from classification.classifier_pictures import ClassifierPictures
from classification.config import ModelConfig, PretrainConfig
from classification.data.cifar10 import Cifar10
from classification.data.encoded_pictures import EncodedPictures
from classification.data.labelled_batches import (
    SCORED_AT_ONCE,
    Batch,
    Pictures,
    PicturesOnDevice,
    evaluation_batches,
    evaluation_items,
    fingerprint,
    training_batches,
    training_items,
)
from classification.data.opened_splits import open_split
from classification.losses import classification_loss, dominant_labels
from classification.mixing import network_input
from classification.score.classifier_errors import evaluate, predict
from foundation.errors import UserError, plural
from training import devices
from training.command import Interrupted, stop_requests
from training.devices import is_main, process_group, resolve_device, world_size
from training.loader import BatchLoader, read_once
from training.progress.remaining_time import seconds_each
from training.run import Evaluation, Task, train
from training.run_folder import open_run
from training.schedule import in_steps
from training.seeding import DRAWING, seed_everything

logger = logging.getLogger(__name__)

TRIED = 2  # batches, to guess how long an evaluation takes


def pretrain(
    config: PretrainConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Trains a classifier in the run folder `out`; the same configuration always gives the same run.

    Returns:
        What result.json holds; see `training.run.train` and `classifier_errors.summarise`.
    Raises:
        UserError: data, weights or the folder are not as needed, or the loss is not finite.
    """
    device = resolve_device(config.run.device)
    open_training = cache(partial(open_split, config.data, training=True))
    config = in_steps(config, lambda: len(open_training()))
    with process_group(device), open_run(out, config, resume=resume, overwrite=overwrite) as folder:
        if folder.result is not None:
            return folder.result
        training, validation = open_training(), open_split(config.data, training=False)
        if training.classes != validation.classes:
            raise UserError(
                f"data.train_split has {len(training.classes)} classes and data.val_split "
                f"{len(validation.classes)}, or their names differ; expected the same class folders in both"
            )
        to_train, classes = (
            plural(len(training), "picture"),
            plural(len(training.classes), "class", "classes"),
        )
        logger.info("%s to train on, %d to validate, %s", to_train, len(validation), classes)
        if config.model.weights is not None and folder.network is None:
            require_weights(config.model.weights)  # a failing download is told before pictures are read
        if isinstance(validation, EncodedPictures):
            view = partial(validation.view, seed=0)
            read_once(view, len(validation), config.run.workers, what="validation pictures")
        model = draw_classifier(config, training, device, folder.network)
        task = pretraining_task(config, model, training, validation, out)
        return train(task, config, folder)


def draw_classifier(
    config: PretrainConfig, pictures: Pictures, device: torch.device, known: Mapping[str, Any] | None = None
) -> Network:
    """The network to be trained, drawn from the run's seed, on its device; see `build_classifier`."""
    with DRAWING:
        seed_everything(config.run.seed)
        model = build_classifier(config.model, pictures, known)
    return model.to(device).to(memory_format=devices.convolution_layout(device, config.run.channels_last))


def build_classifier(
    config: ModelConfig, pictures: Pictures, known: Mapping[str, Any] | None = None
) -> Network:
    """The network for these pictures' classes, told how they are normalised.

    Weights to start from may be of other classes: their last layer is left out. They must be for pictures of
    the same normalisation.

    Args:
        known: what a checkpoint says of the network that its tensors are for; no weights are read then.
    """
    if known is not None:
        model = config.create(len(pictures.classes), weights=None)
        model.input_spec = pictures.input_spec
        set_norm_eps(model, known["norm_eps"])
        return model
    outputs = len(pictures.classes)
    if config.weights is not None:
        with torch.device("meta"):
            last = config.create(1, weights=None).last_layer
        outputs = len(read_weights(config.weights)[0].get(f"{last}.weight", pictures.classes))
    model = config.create(outputs)
    if outputs != len(pictures.classes):
        logger.info("%s is for %d classes: the classifier starts anew", config.weights, outputs)
        before = model.get_submodule(model.last_layer)
        assert isinstance(before, nn.Linear)
        model.set_submodule(model.last_layer, nn.Linear(before.in_features, len(pictures.classes)))
        model.options["num_classes"] = len(pictures.classes)
    if config.weights is not None and model.input_spec != pictures.input_spec:
        raise UserError(
            f"{config.weights} was trained on pictures as {model.input_spec}, this data set gives "
            f"{pictures.input_spec}; start from weights of the same kind"
        )
    model.input_spec = pictures.input_spec
    return model


def pretraining_task(
    config: PretrainConfig, model: Network, training: Pictures, validation: Pictures, out: Path | None = None
) -> Task:
    """What `training.run.train` needs to know of classification; pictures are drawn into `out`, if given."""
    device = next(model.parameters()).device
    source, pictures = batch_source(config, training, device), None
    subsets = BlockSubsets(model, config.blocks, config.run.seed) if config.blocks.key() else None
    scored = nullcontext if subsets is None else subsets.expected
    if out is not None and config.run.pictures and is_main():
        pictures = ClassifierPictures(out, training, validation)

    def batches(step: int) -> Iterable[Any]:
        given = source(step)
        if pictures is None or step > 0:
            return given
        return pictures.of_start(given, network_input(training, config.mixing, device), device)

    def score() -> Evaluation:
        with scored():
            result = evaluate(
                model,
                evaluation_batches(validation, SCORED_AT_ONCE, config.run.workers),
                prepare=validation.prepare,
                classes=validation.classes,
                device=device,
                precision=config.run.precision,
            )
            if pictures is not None:
                pictures.keep(model, device, config.run.precision)
        return Evaluation(result["scores"]["top1_error"], result)

    def guess() -> float:
        items = evaluation_items(len(validation), SCORED_AT_ONCE)
        batches = BatchLoader(validation.read, items[:TRIED], 0)

        def use(batch: Batch) -> None:
            ((_, _, scores),) = predict(model, [batch], lambda b: model(validation.prepare(b)), device=device)
            scores.cpu()

        return len(items) * seconds_each(batches, use, workers=config.run.workers)

    def save(path: Path, scores: Mapping[str, float]) -> None:
        header = WeightsHeader(
            model=model.name,
            options=model.options,
            input_spec=model.input_spec,
            norm_eps=norm_eps(model),
            dataset=f"{config.data.kind} {config.data.train_split}",
            score=dict(scores),
            config=asdict(config),
            classes=list(validation.classes),
        )
        with scored():
            save_weights(path, model.state_dict(), header)

    return Task(
        model=model,
        batches=batches,
        resident=isinstance(training, Cifar10),
        losses=batch_losses(config, training, device),
        evaluate=score,
        save_weights=save,
        draw=None if pictures is None else pictures.draw,
        data={
            "training pictures": len(training),
            "validation pictures": len(validation),
            "classes": training.classes,
            "training file names and labels": fingerprint(training),
            "validation file names and labels": fingerprint(validation),
        },
        network={"norm_eps": norm_eps(model)},
        pictures=len(training),
        guess_seconds=guess,
        around_step=None if subsets is None else subsets.drawn,
    )


def batch_losses(
    config: PretrainConfig, training: Pictures, device: torch.device
) -> Callable[[nn.Module, Batch], dict[str, Tensor]]:
    """What gives the loss of a micro-batch on the device, and its error in per cent."""
    prepare = network_input(training, config.mixing, device)
    layout = devices.convolution_layout(device, config.run.channels_last)

    def losses(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        images, targets = prepare(batch)
        logits = network(images.contiguous(memory_format=layout))
        wrong = logits.detach().argmax(dim=1) != dominant_labels(targets)
        loss = classification_loss(logits, targets, config.loss)
        return {"loss": loss, "top1_error": 100 * wrong.float().mean()}

    return losses


def batch_source(
    config: PretrainConfig, training: Pictures, device: torch.device
) -> Callable[[int], Iterable[Any]]:
    """Endless micro-batches from an optimiser step on: gathered on the device, or brought by a loader."""
    if not isinstance(training, Cifar10):
        return lambda step: training_batches(training, config.optim, config.run, step)
    resident = PicturesOnDevice(training.images.to(device), training.labels.to(device), training.split)
    return lambda step: resident.drawn(training_items(len(training), config.optim, config.run, step))


def pretrain_together(runs: Sequence[tuple[PretrainConfig, Path, bool]]) -> list[dict[str, Any]]:
    """Trains all configurations at once; each ends, and returns what `pretrain` returns, as it would alone.

    Small networks leave most of a GPU idle.

    Args:
        runs: configuration, run folder, and whether to resume what is in it.
    Raises:
        UserError: several processes, pictures that a loader brings, or a network with dropout.
        Exception: the first that a training raised, after all others have ended.
    """
    if world_size() > 1:
        raise UserError(f"trainings run together in one process, but torchrun started {world_size()}")
    for config, _, _ in runs:
        refuse_shared(config)
    ended: list[dict[str, Any] | BaseException] = [{} for _ in runs]

    def run(number: int, config: PretrainConfig, out: Path, resume: bool) -> None:
        try:
            device = resolve_device(config.run.device)
            stream = torch.cuda.Stream(device) if device.type == "cuda" else None
            with torch.cuda.stream(stream):
                ended[number] = pretrain(config, out, resume=resume)
        except (Exception, Interrupted) as error:  # kept for the main thread, which raises it
            ended[number] = error
            logger.error("%s", error)

    # Named for the log; daemons, so that a second Ctrl-C ends them all. Each goes on from its checkpoint.
    threads = [
        Thread(target=run, name=each[1].name, args=(i, *each), daemon=True) for i, each in enumerate(runs)
    ]
    with stop_requests():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for result in ended:
        if isinstance(result, BaseException):
            raise result
    return [result for result in ended if not isinstance(result, BaseException)]


def refuse_shared(config: PretrainConfig) -> None:
    """Raises UserError if the training needs what threads share: random generators, or worker processes."""
    if config.data.kind != "cifar10" or config.run.workers:
        raise UserError(
            "trainings at once need pictures in memory (data.kind=cifar10, run.workers=0), got "
            f"{config.data.kind} and {config.run.workers} workers; train one after another"
        )
    with torch.device("meta"):
        model = config.model.create(1, weights=None)
    if any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in model.modules()):
        raise UserError(
            f"{config.model.name} has dropout, and trainings at once would draw from one generator, so none "
            "could be repeated; train one after another"
        )
