"""Analyses of weight files on any pictures: networks and pictures opened, measured, saved and drawn."""

import json
import logging
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analysis.arrays import Arrays, load_arrays, save_arrays
from analysis.gradients import GradientsOptions
from analysis.kinds import KINDS, Kind
from analysis.lesions import LesionOptions
from analysis.paths import PathsOptions
from analysis.plots import draw_shattering, save_plot
from analysis.responses import ResponsesOptions
from analysis.shattering import measure_shattering, summarise_shattering
from analysis.signal import SignalOptions
from analysis.untrained import untrained
from backbones import WeightsHeader, load_network
from backbones.features import Network
from backbones.weights import read_header
from classification.config import DataConfig
from classification.loading import Pictures
from classification.report import write_text
from classification.score import digest
from classification.validation import match_classes, open_pictures
from engine.batches import BatchLoader
from engine.config import parse_config, require_between, require_positive
from engine.device import resolve_device
from engine.errors import UserError, suggest
from engine.progress import watched
from engine.sampler import Item

logger = logging.getLogger(__name__)

CALIBRATED_ON = 100  # pictures, for the normalisation of untrained networks


@dataclass(frozen=True)
class RunOptions:
    """How an analysis is executed.

    Attributes:
        device: "auto" takes a GPU where there is one.
        seed: of the choice of pictures, and of everything that is drawn.
        batch_size: pictures at once.
        workers: processes that read pictures; 0 reads them in this one.
    """

    device: str = "auto"
    seed: int = 0
    batch_size: int = 100
    workers: int = 0

    def __post_init__(self) -> None:
        require_positive(self, "batch_size")
        require_between(self, 0, 2**31, "seed", "workers")


@dataclass(frozen=True)
class AnalyzeConfig:
    """One analysis of some networks.

    Attributes:
        data: the pictures; `data.val_split` of them. By default those of the first file's training.
        untrained: also analyse each network as it was before its training.
        responses, signal, lesion, paths, gradients: options of each analysis.
    """

    data: DataConfig
    run: RunOptions = field(default_factory=RunOptions)
    untrained: bool = False
    responses: ResponsesOptions = field(default_factory=ResponsesOptions)
    signal: SignalOptions = field(default_factory=SignalOptions)
    lesion: LesionOptions = field(default_factory=LesionOptions)
    paths: PathsOptions = field(default_factory=PathsOptions)
    gradients: GradientsOptions = field(default_factory=GradientsOptions)


@dataclass(frozen=True)
class RandomNetworksConfig:
    """The experiment on random networks; see `analysis.shattering`."""

    run: RunOptions = field(default_factory=RunOptions)
    gradients: GradientsOptions = field(default_factory=GradientsOptions)


def analyze(name: str, weights: Sequence[Path], out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Measures one analysis on each network, on the same pictures for all.

    A network whose arrays lie in `out` already, from the same weights and options, is not measured again.

    Args:
        name: "responses", "signal", "lesion", "paths" or "gradients".
        weights: classifiers' files with our header, of training or converted.
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
    headers = [_read_header(file) for file in weights]
    config = _read_config(name, headers, overrides)
    options = getattr(config, name)
    device = resolve_device(config.run.device)
    pictures = _open_pictures(config.data, headers[0].classes, kind)
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        "analysis": name,
        "data": asdict(config.data),
        "run": asdict(config.run),
        "options": asdict(options),
    }
    measured: dict[str, Arrays] = {}
    networks: dict[str, Any] = {}
    for file, header, label in zip(weights, headers, _labels(weights, headers), strict=True):
        network = load_network(file).to(device).eval()
        if kind.needs_labels:
            match_classes(file, header, pictures)
        pictures.adopt(header.input_spec)
        for title, variant in _variants(label, network, pictures, config, device):
            arrays_file = out / f"{file_name(title)}.npz"
            about = {"weights": digest(file), "network": title, **settings}
            found = load_arrays(arrays_file, about)
            if found is None:
                logger.info("%s of %s", name, title)
                batches = _batches(pictures, kind.pictures(options), config.run, device, title)
                found = kind.measure(variant, batches, options, config.run.seed)
                save_arrays(arrays_file, found, about)
            else:
                logger.info("%s of %s is there already, from the same weights and options", name, title)
            measured[title] = found
            merit = kind.summarise(found, options)
            networks[title] = {"weights": str(file), "sha256": about["weights"], **merit}
    result = {"command": _command(name, weights, out, overrides), **settings, "networks": networks}
    _write(out, name, result, kind.draw(measured, options))
    return result


def _analyze_random_networks(out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The experiment of Balduzzi et al. 2017, which needs neither weights nor pictures."""
    config = parse_config(RandomNetworksConfig, {}, overrides, source="tools/analyze.py gradients")
    arrays = measure_shattering(config.gradients.seeds, config.run.seed)
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        "analysis": "gradients",
        "run": asdict(config.run),
        "options": {"seeds": config.gradients.seeds},
    }
    save_arrays(out / "random_networks.npz", arrays, settings)
    command = _command("gradients", [], out, overrides)
    result = {"command": command, **settings, "networks": summarise_shattering(arrays)}
    _write(out, "gradients", result, draw_shattering(arrays))
    return result


def _command(name: str, weights: Sequence[Path], out: Path, overrides: Sequence[str]) -> str:
    """The command line that repeats it."""
    files = ["--weights", *map(str, weights)] if weights else []
    return shlex.join(["python", "tools/analyze.py", name, *files, "--out", str(out), *overrides])


def _write(out: Path, name: str, result: dict[str, Any], figure: Any) -> None:
    write_text(out / "result.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    save_plot(figure, out / name)


def _read_header(file: Path) -> WeightsHeader:
    header = read_header(file)
    if header is None:
        raise UserError(
            f"{file} has no header that says what network it is of; convert it with "
            f"python tools/convert_weights.py {file} OUT.safetensors"
        )
    if "backbone" in header.config:
        raise UserError(
            f"{file}: expected a classifier's weights, found those of a {header.model}; what its AP owes to "
            f"single blocks of the backbone says tools/eval_det.py --weights {file} --without BLOCK"
        )
    return header


def _read_config(name: str, headers: Sequence[WeightsHeader], overrides: Sequence[str]) -> AnalyzeConfig:
    """The options, on the pictures of the first file's training unless others are named."""
    for override in overrides:
        section = override.partition(".")[0]
        if section in KINDS and section != name:
            raise UserError(f"{override} belongs to tools/analyze.py {section} and does nothing in {name}")
    known = [header.config["data"] for header in headers if "model" in header.config]
    named = any(override.startswith("data.kind=") for override in overrides)
    if not known and not named:
        raise UserError(
            "the weights do not say what pictures they were trained on; name some, for instance "
            "data.kind=cifar10 data.root=data/cifar-10-batches-py, or data.kind=folder and its root"
        )
    data = {} if named else dict(known[0])
    if "data.kind=cifar10" in overrides:
        data["val_split"] = "test"  # other kinds call it "val"
    return parse_config(AnalyzeConfig, {"data": data}, overrides, source="tools/analyze.py")


def _labels(files: Sequence[Path], headers: Sequence[WeightsHeader]) -> list[str]:
    """A name for each network: the model's; with the file's where a model comes twice."""
    models = [header.model for header in headers]
    labels = [
        model if models.count(model) == 1 else f"{model} ({file.parent.name}/{file.stem})"
        for file, model in zip(files, models, strict=True)
    ]
    for label in labels:
        if labels.count(label) > 1:
            raise UserError(f"--weights names {label} twice; give each file once")
    return labels


def file_name(label: str) -> str:
    """A label without what file names should not have."""
    return re.sub(r"[^\w.-]+", "_", label).strip("_")


def _open_pictures(data: DataConfig, classes: list[str], kind: Kind) -> Pictures:
    pictures = open_pictures(data, classes)
    if kind.needs_labels and len(pictures) and int(pictures.labels.min()) < 0:
        raise UserError(
            f"this analysis measures errors, and the pictures of data.val_split={data.val_split} have no "
            "labels; choose a split with a folder for each class"
        )
    return pictures


def _variants(
    label: str, network: Any, pictures: Pictures, config: AnalyzeConfig, device: torch.device
) -> Iterator[tuple[str, Network]]:
    yield label, network
    if config.untrained:
        images = (images for images, _ in _batches(pictures, CALIBRATED_ON, config.run, device))
        yield f"{label}, untrained", untrained(network, [torch.cat(list(images))], config.run.seed)


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
        lines += [label, *_lines({k: v for k, v in found.items() if k not in ("weights", "sha256")}, "  ")]
    return "\n".join(lines)


def _lines(found: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in found.items():
        for part in value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]:
            yield f"{indent}{key.replace('_', ' ')}: {_said(part)}"


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_said(part)}" for key, part in value.items())
    if isinstance(value, list):
        return " / ".join(map(_said, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
