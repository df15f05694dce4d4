"""The networks that are analysed, each with the pictures as it sees them."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from analysis.networks.untrained import untrained
from backbones import WeightsHeader, load_network
from backbones.families import is_model
from backbones.spec import Network
from backbones.weights.weight_files import read_header
from classification.data.labelled_batches import Batch, Pictures
from classification.data.opened_splits import class_names, match_classes, open_pictures
from classification.score.network_data import read_classifier_header
from foundation.errors import UserError
from reproduction.analysis_config import AnalyzeConfig, RunOptions
from segmentation.model.segmenters_by_name import is_segmenter
from segmentation.model.segmenters_by_name import load_network as load_segmenter
from training.devices import resolve_device
from training.loader import BatchLoader, Item
from training.progress.progress_bar import watched

CALIBRATED_ON = 100  # pictures, for the normalisation of untrained networks
OF_DETECTORS = "what its AP owes to single blocks says tools/eval_det.py --weights {} --without BLOCK"
OF_PIXELS = "what its mIoU owes to single blocks says tools/eval_seg.py --weights {} --without BLOCK"


class Opened(NamedTuple):
    """A network to be measured, where it is from, what it is called, and the pictures as it sees them.

    The classes are what its outputs are called.
    """

    file: Path
    label: str
    network: Network
    pictures: Pictures
    classes: list[str]


def read_analyzed_header(name: str, file: Path) -> WeightsHeader:
    """Of a classifier; for responses also of the trunk in a network for segmentation, which has no classes.

    Its data and classes are those of pixels, and left out.
    """
    header = read_header(file)
    if header is None or not is_segmenter(header.model):
        return read_classifier_header(file, of_detectors=OF_DETECTORS.format(file))
    backbone = header.model.partition("_")[2]
    if name != "responses":
        instead = OF_PIXELS.format(file)
        raise UserError(f"{file}: {name} is measured on classifiers, this is a {header.model}; {instead}")
    if not is_model(backbone):
        raise UserError(f"{file}: its trunk, {backbone}, is no network of ours (tools/models.py)")
    return replace(header, model=backbone, config={}, classes=[])


def _load(file: Path) -> Any:
    """A classifier, or the trunk of a network for segmentation."""
    header = read_header(file)
    if header is not None and is_segmenter(header.model):
        return load_segmenter(file).network.backbone
    return load_network(file)


def open_networks(
    weights: Sequence[Path], headers: Sequence[WeightsHeader], config: AnalyzeConfig, needs_labels: bool
) -> Iterator[Opened]:
    """Each network, and where asked for also as it was before training.

    Labels of pictures of other classes are unknown, unless they are needed.
    """
    device = resolve_device(config.run.device, float64=True)
    labels = name_networks(weights, headers)
    pictures = open_pictures(config.data, headers[0])
    if needs_labels and len(pictures) and int(pictures.labels.min()) < 0:
        raise UserError(
            f"this analysis needs labels, and the pictures of data.val_split={config.data.val_split} have "
            "no labels; choose a split with a folder for each class"
        )
    for file, header, label in zip(weights, headers, labels, strict=True):
        network = _load(file).to(device).eval()
        if config.untrained and "num_classes" not in network.options:
            raise UserError(
                f"untrained=true is for classifiers, and of {file} the trunk is taken; leave it out"
            )
        seen = copy(pictures)  # the same pictures, with the classes and the normalisation of this network
        named = header.classes or len(pictures.classes) != network.options.get("num_classes")
        classes = class_names(header) if named else list(pictures.classes)
        if needs_labels:
            match_classes(file, header, seen)
        elif classes != list(pictures.classes):
            seen.labels = torch.full_like(pictures.labels, -1)
        seen.adopt(header.input_spec)
        yield Opened(file, label, network, seen, classes)
        if config.untrained:
            drawn = _untrained(network, seen, config.run)
            yield Opened(file, f"{label}, untrained", drawn, seen, classes)


def name_networks(files: Sequence[Path], headers: Sequence[WeightsHeader]) -> list[str]:
    """A name for each network: its model, and where it comes twice as much of the path as tells them apart.

    Raises:
        UserError: a file is named twice.
    """
    paths = [file.resolve() for file in files]
    for file, path in zip(files, paths, strict=True):
        if paths.count(path) > 1:
            raise UserError(f"--weights names {file} twice; give each file once")
    models = [header.model for header in headers]
    names = []
    for path, model in zip(paths, models, strict=True):
        others = [p for p, m in zip(paths, models, strict=True) if m == model and p != path]
        parts = path.with_suffix("").parts
        length = 1
        while any(parts[-length:] == other.with_suffix("").parts[-length:] for other in others):
            length += 1
        names.append(f"{model} ({'/'.join(parts[-length:])})" if others else model)
    return names


def _untrained(network: Network, pictures: Pictures, run: RunOptions) -> Network:
    """The network before its training, its normalisation calibrated on equal batches of a few pictures."""
    at_once = min(run.batch_size, CALIBRATED_ON, max(1, len(pictures)))
    count = max(1, CALIBRATED_ON // at_once) * at_once
    device = next(network.parameters()).device
    batches = read_batches(pictures, count, replace(run, batch_size=at_once), device)
    return untrained(network, map(pictures.prepare, batches), run.seed)


def read_batches(
    pictures: Pictures, count: int | None, run: RunOptions, device: torch.device, title: str = ""
) -> Iterator[Batch]:
    """Pictures as read, on the device, in random order, the same for every network."""
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(run.seed))[:count]
    items = [[Item(index, 0) for index in part.tolist()] for part in order.split(run.batch_size) if len(part)]
    for batch in watched(BatchLoader(pictures.read, items, run.workers), len(items), title=title):
        yield batch.to(device)
