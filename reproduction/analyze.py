"""Analyses of weight files on any pictures: networks and pictures opened, measured, saved and drawn."""

import hashlib
import json
import logging
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analysis.arrays import Arrays, load_arrays, save_arrays
from analysis.figures.analysis_figures import draw_shattering
from analysis.kinds import KINDS, Kind
from analysis.networks.untrained import untrained
from analysis.shattering import measure_shattering, summarise_shattering
from backbones import WeightsHeader, load_network
from backbones.families import is_model
from backbones.spec import Network
from backbones.weights.downloads import digest
from backbones.weights.published import find_weights
from backbones.weights.weight_files import read_header
from classification.data.labelled_batches import Pictures
from classification.data.opened_splits import match_classes, open_pictures
from classification.score.network_data import read_classifier_header
from foundation.atomic_files import write_text
from foundation.errors import UserError, suggest
from pictures.plots import save_plot
from reproduction.analysis_config import AnalyzeConfig, RandomNetworksConfig, RunOptions, read_config
from segmentation.model.segmenters_by_name import is_segmenter
from segmentation.model.segmenters_by_name import load_network as load_segmenter
from training.config import parse_config
from training.devices import resolve_device
from training.loader import BatchLoader, Item
from training.progress.progress_bar import watched

logger = logging.getLogger(__name__)

LONGEST_NAME = 80  # characters of a label in the name of a file
CALIBRATED_ON = 100  # pictures, for the normalisation of untrained networks
OF_DETECTORS = "what its AP owes to single blocks says tools/eval_det.py --weights {} --without BLOCK"
OF_PIXELS = "what its mIoU owes to single blocks says tools/eval_seg.py --weights {} --without BLOCK"
MEASURES = 1  # to be raised with every change of what an analysis measures: arrays of others are not kept


def analyze(name: str, weights: Sequence[Path], out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Measures one analysis on each network, on the same pictures for all.

    A network whose arrays lie in `out` already, from the same weights and options, is not measured again.

    Args:
        name: "responses", "signal", "lesion", "paths" or "gradients".
        weights: classifiers' files with our header, of training or converted, or published names; for
            responses also of networks for segmentation, whose trunks are looked at.
        out: folder for an .npz file of each network, result.json, and the figure as .png and .svg.
        overrides: "section.key=value" of `AnalyzeConfig`.
    Returns:
        What result.json holds: the command, the options, and the figures of merit of each network.
    Raises:
        UserError: an unknown analysis, key or value; no pictures, or none with labels where they are needed.
        OptionError: a network without what the analysis is of.
        WeightsError: a file that is no classifier's.
    """
    if name not in KINDS:
        raise UserError(f"there is no analysis {name!r}{suggest(name, KINDS)}")
    kind = KINDS[name]
    if not weights and name == "gradients":
        return _analyze_random_networks(out, overrides)
    if not weights:
        raise UserError(f"{name} is measured on networks: name their files with --weights FILE [FILE …]")
    headers = [_read_header(name, file) for file in weights]
    config = read_config(name, headers, overrides)
    make_folder(out)
    settings = {"analysis": name, "data": asdict(config.data), "run": asdict(config.run)}
    settings["options"] = asdict(getattr(config, name))
    measured: dict[str, Arrays] = {}
    networks: dict[str, Any] = {}
    for file, label, network, pictures in _open_networks(weights, headers, config, kind):
        about = {"release": MEASURES, "weights": digest(find_weights(file)), "network": label}
        about |= {"pictures": _identify(pictures), **settings}
        measured[label] = _measure(name, network, pictures, config, out / f"{file_name(label)}.npz", about)
        merit = kind.summarise(measured[label], getattr(config, name))
        networks[label] = {"weights": str(file), "sha256": about["weights"], **merit}
    figure = kind.draw(measured, getattr(config, name))
    return _write(out, figure, weights, overrides, settings | {"networks": networks})


def _read_header(name: str, file: Path) -> WeightsHeader:
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


def _open_networks(
    weights: Sequence[Path], headers: Sequence[WeightsHeader], config: AnalyzeConfig, kind: Kind
) -> Iterator[tuple[Path, str, Network, Pictures]]:
    """Each network under its name, and where asked for as it was before training, with the pictures."""
    device = resolve_device(config.run.device, float64=True)
    labels = name_networks(weights, headers)
    pictures = open_pictures(config.data, headers[0])
    if kind.needs_labels and len(pictures) and int(pictures.labels.min()) < 0:
        raise UserError(
            f"this analysis measures errors, and the pictures of data.val_split={config.data.val_split} have "
            "no labels; choose a split with a folder for each class"
        )
    classes, numbers = list(pictures.classes), pictures.labels
    for file, header, label in zip(weights, headers, labels, strict=True):
        network = _load(file).to(device).eval()
        if config.untrained and "num_classes" not in network.options:
            raise UserError(
                f"untrained=true is for classifiers, and of {file} the trunk is taken; leave it out"
            )
        pictures.classes, pictures.labels = list(classes), numbers  # as they are, for every network
        if kind.needs_labels:
            match_classes(file, header, pictures)
        pictures.adopt(header.input_spec)
        yield file, label, network, pictures
        if config.untrained:
            yield file, f"{label}, untrained", _untrained(network, pictures, config.run), pictures


def _measure(
    name: str, network: Network, pictures: Pictures, config: AnalyzeConfig, file: Path, about: dict[str, Any]
) -> Arrays:
    """What the file holds about the same, or else is measured and saved there."""
    found = load_arrays(file, about)
    if found is not None:
        logger.info("%s of %s is there already, from the same weights and options", name, about["network"])
        return found
    logger.info("%s of %s", name, about["network"])
    kind, options = KINDS[name], getattr(config, name)
    device = next(network.parameters()).device
    batches = _batches(pictures, kind.pictures(options), config.run, device, about["network"])
    found = kind.measure(network, batches, options, config.run.seed)
    save_arrays(file, found, about)
    return found


def _analyze_random_networks(out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The experiment of Balduzzi et al. 2017, which needs neither weights nor pictures."""
    source = "tools/analyze.py gradients without --weights"
    config = parse_config(RandomNetworksConfig, {}, overrides, source=source)
    make_folder(out)
    arrays = measure_shattering(config.seeds)
    settings: dict[str, Any] = {"analysis": "gradients", "options": asdict(config)}
    save_arrays(out / "random_networks.npz", arrays, settings)
    settings["networks"] = summarise_shattering(arrays)
    return _write(out, draw_shattering(arrays), [], overrides, settings)


def _write(
    out: Path, figure: Any, weights: Sequence[Path], overrides: Sequence[str], result: dict[str, Any]
) -> dict[str, Any]:
    """Writes the figure, and last result.json, which begins with the command that repeats the analysis."""
    name = result["analysis"]
    files = ["--weights", *map(str, weights)] if weights else []
    command = ["python", "tools/analyze.py", name, *files, "--out", str(out), *overrides]
    result = {"command": shlex.join(command), **result}
    (out / "result.json").unlink(missing_ok=True)  # so that it is always of what lies beside it
    save_plot(figure, out / name)
    write_text(out / "result.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    return result


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


def file_name(label: str) -> str:
    """A label without what file names should not have, nor too long; different labels have different ones."""
    plain = re.sub(r"[^\w.-]+", "_", label).strip("_")[:LONGEST_NAME]
    return plain if plain == label else f"{plain}_{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def make_folder(out: Path) -> None:
    """Makes the folder for the results, or says in a `UserError` why it cannot be made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror}; choose a folder that can be written") from error


def _identify(pictures: Pictures) -> list[Any]:
    """What tells sets of pictures apart: number, classes and labels, and the first one's pixels and path."""
    labels = hashlib.sha256(pictures.labels.numpy().tobytes()).hexdigest()
    first = pictures.read([Item(0, 0)]) if len(pictures) else None
    name = first.ids[0] if first else ""
    pixels = hashlib.sha256(first.images.numpy().tobytes()).hexdigest() if first else ""
    return [len(pictures), list(pictures.classes), labels, name, pixels]


def _untrained(network: Network, pictures: Pictures, run: RunOptions) -> Network:
    """The network before its training, its normalisation calibrated on equal batches of a few pictures."""
    at_once = min(run.batch_size, CALIBRATED_ON, max(1, len(pictures)))
    count = max(1, CALIBRATED_ON // at_once) * at_once
    device = next(network.parameters()).device
    batches = _batches(pictures, count, replace(run, batch_size=at_once), device)
    return untrained(network, (images for images, _ in batches), run.seed)


def _batches(
    pictures: Pictures, count: int | None, run: RunOptions, device: torch.device, title: str = ""
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised pictures and labels in random order, the same for every network."""
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(run.seed))[:count]
    items = [[Item(index, 0) for index in part.tolist()] for part in order.split(run.batch_size) if len(part)]
    for batch in watched(BatchLoader(pictures.read, items, run.workers), len(items), title=title):
        on_device = batch.to(device)
        yield pictures.prepare(on_device), on_device.labels


def describe_analysis(result: dict[str, Any]) -> str:
    """The figures of merit of each network, for people."""
    lines = []
    for label, found in result["networks"].items():
        lines.append(label)
        merit = {key: value for key, value in found.items() if key not in ("weights", "sha256")}
        for key, value in merit.items():
            several = isinstance(value, list) and value and isinstance(value[0], dict)
            parts = value if several else [value]
            lines += [f"  {key.replace('_', ' ')}: {_as_text(part)}" for part in parts]
    return "\n".join(lines)


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_as_text(part)}" for key, part in value.items())
    if isinstance(value, list):
        return " / ".join(map(_as_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
