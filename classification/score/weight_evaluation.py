"""Scores a weight file, on the validation data of its own training or others, and several together."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones import WeightsHeader, load_network, save_weights
from backbones.features import FeatureNetwork
from backbones.norm import FrozenBatchNorm2d, calibrate_batchnorm, inference_copy
from backbones.spec import Network
from backbones.weights.downloads import digest
from backbones.weights.published import find_weights
from classification.config import MeasuringConfig, PretrainConfig
from classification.data.labelled_batches import SCORED_AT_ONCE, Batch, Pictures, evaluation_items
from classification.data.opened_splits import open_split, open_validation
from classification.score.classifier_errors import predict
from classification.score.evaluation_report import ReportRequest, report
from classification.score.network_data import measuring_config, read_classifier_header
from classification.score.picture_views import (
    ViewReader,
    Views,
    fully_convolutional,
    score_views,
    view_reader,
)
from classification.score.saved_scores import Scores, average, check_archive_name, portable_id, save_scores
from foundation.errors import UserError
from training.devices import gather_objects, is_main, process_group, resolve_device
from training.loader import BatchLoader, Item
from training.progress.progress_bar import watched

logger = logging.getLogger(__name__)

VIEWED_AT_ONCE = 25  # pictures of which all views are cut; at the paper's five scales 90 MB
REESTIMATED = "reestimated.safetensors"


def score_weights(
    weights: str | Path,
    overrides: Sequence[str],
    out: Path | None,
    *,
    protocol: str = "centre",
    scales: Sequence[int] = (),
    reestimate_bn: int | None = None,
    labels: Path | None = None,
    save_logits: Path | None = None,
    submission: Path | None = None,
) -> dict[str, Any]:
    """Rebuilds network and validation data by the file's header, evaluates, and gives what `report` gives.

    Args:
        weights: of a pretraining run, best.safetensors or last.safetensors; or converted or published ones.
        overrides: changes to its configuration, for instance "data.val_split=test"; they name the data of
            weights that were not trained here (`network_data.data_section`).
        out: folder for result.json and the other files of `report`; without it none is written.
        protocol: "centre" crop, "ten-crop" (Krizhevsky et al. 2012) or "dense" (He et al. 2015, §3.4).
        scales: of "dense", short sides in pixels; by default those of `scales_for`.
        reestimate_bn: batches for `reestimate_batchnorm`; `out` then also gets the weights with the new
            statistics and their score, for detectors to start from.
        labels: file of labels in place of the data set's, see `read_labels`.
        save_logits: file for the scores of every picture, see `save_scores`.
        submission: file of the numbers that a server has for the classes, see `read_class_ids`.
    Raises:
        UserError: no classifier's weights, data missing or of other classes, or a wrong option or file.
        WeightsError: the file is broken or does not fit its own header.
    """
    header = read_classifier_header(weights)
    config = measuring_config(weights, header, overrides)
    if save_logits is not None:
        check_archive_name(save_logits)
    pictures = open_validation(weights, header, config.data)
    request = ReportRequest.read(list(pictures.classes), out, labels, submission)
    reader = view_reader(pictures, config.data, protocol, scales)
    model = load_classifier(weights, header, config)
    device = resolve_device(config.run.device)
    with process_group(device):
        model.to(device)
        if reestimate_bn is not None:
            reestimate_batchnorm(model, config, header, reestimate_bn, device)
        scores = score_pictures(inference_copy(model), pictures, reader, config)
    scores.about.update(
        {
            "weights": str(weights),
            "sha256": digest(find_weights(weights)),
            "data": f"{config.data.kind} {config.data.val_split}",
            "protocol": protocol,
        }
    )
    if reader is not None and reader.scales:
        scores.about["scales"] = list(reader.scales)
    if save_logits is not None and is_main():
        save_scores(save_logits, scores)
    result = report(scores, request)
    if out is not None and reestimate_bn is not None and is_main():
        kept = {name: value for name, value in result["scores"].items() if value is not None}
        save_weights(out / REESTIMATED, model.state_dict(), replace(header, score=kept))
    return result


def load_classifier(
    weights: str | Path, header: WeightsHeader, config: PretrainConfig | MeasuringConfig
) -> Network:
    """The network of a file, as its configuration or else its header says; a WeightsError if it is not."""
    if isinstance(config, PretrainConfig):
        # One process's statistics are those of all: nothing is trained here.
        return config.model.create(len(header.classes), weights=str(weights), norm="batch")
    network = load_network(weights)
    assert not isinstance(network, FeatureNetwork)  # no features were asked for
    return network


def score_ensemble(
    files: Sequence[Path], out: Path | None, *, labels: Path | None = None, submission: Path | None = None
) -> dict[str, Any]:
    """Averages several networks' saved scores (He et al. 2015, Table 5), and gives what `report` gives.

    Args:
        files: what `score_weights` saved as `save_logits`; the other arguments are those of `score_weights`.
    Raises:
        UserError: a file cannot be read, or they are not of the same pictures and classes.
    """
    scores = average(files)
    return report(scores, ReportRequest.read(scores.classes, out, labels, submission))


def reestimate_batchnorm(
    model: nn.Module,
    config: PretrainConfig | MeasuringConfig,
    header: WeightsHeader,
    num_batches: int,
    device: torch.device,
) -> None:
    """New statistics of batch normalisation, as before detection (He et al. 2015, appendix A).

    They come from random training pictures, seen as in evaluation: one view each, without augmentation. All
    processes use the same pictures, a choice of the run's seed, and end with the same statistics.

    Raises:
        UserError: no batches, no batch normalisation in the model, or fewer training pictures.
    """
    if num_batches < 1:
        raise UserError(f"--reestimate-bn must be 1 or more batches, got {num_batches}")
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)]
    if not norms:
        raise UserError(f"{header.model} has no batch normalisation; leave out --reestimate-bn")
    pictures = open_split(replace(config.data, val_split=config.data.train_split), training=False)
    pictures.adopt(header.input_spec)
    batch_size = min(SCORED_AT_ONCE, len(pictures))
    if num_batches * batch_size > len(pictures):  # batches must be equal: each counts alike
        raise UserError(
            f"{config.data.train_split} has {len(pictures)} pictures, fewer than {num_batches} batches of "
            f"{batch_size}; give --reestimate-bn {len(pictures) // batch_size} or less"
        )
    logger.info("statistics of %d layers from %d training pictures", len(norms), num_batches * batch_size)
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(config.run.seed))
    chosen = order[: num_batches * batch_size].view(num_batches, batch_size).tolist()
    batches = [[Item(index, 0) for index in batch] for batch in chosen]
    loader = BatchLoader(pictures.read, batches, config.run.workers)
    calibrate_batchnorm(model, (pictures.prepare(batch.to(device)) for batch in loader))


def score_pictures(
    model: nn.Module,
    pictures: Pictures,
    reader: ViewReader | None,
    config: PretrainConfig | MeasuringConfig,
) -> Scores:
    """The scores of all pictures, from all processes, in the order of the data set.

    The reader cuts the views that are averaged; without it `pictures` give one view.
    """
    read: Callable[[list[Item]], Batch | Views]
    score: Callable[[Any], Tensor]
    if reader is None:
        size, read, score = SCORED_AT_ONCE, pictures.read, lambda batch: model(pictures.prepare(batch))
    else:
        size, read = VIEWED_AT_ONCE, reader
        network = fully_convolutional(model) if reader.scales else model
        none = torch.zeros(0, dtype=torch.int64)
        score = partial(
            score_views, network, prepare=lambda images: pictures.prepare(Batch(images, none, none, []))
        )
    items = evaluation_items(len(pictures), size)
    loader: BatchLoader[Any] = BatchLoader(read, items, config.run.workers)
    device, precision = next(model.parameters()).device, config.run.precision
    found = predict(model, watched(loader, len(items)), score, device=device, precision=precision)
    share = [(ids, labels.cpu(), scores.cpu()) for ids, labels, scores in found]
    ids, labels, scores = zip(*(part for share in gather_objects(share) for part in share), strict=True)
    names = [portable_id(name) for batch in ids for name in batch]
    return Scores(names, torch.cat(labels), list(pictures.classes), torch.cat(scores), {})
