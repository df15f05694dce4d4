"""Analyses of weight files on any pictures: networks and pictures opened, measured, saved and drawn."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np

from analysis.arrays import Arrays, save_arrays
from analysis.figures.analysis_figures import draw_shattering
from analysis.kinds import KINDS
from analysis.shattering import measure_shattering, summarise_shattering
from backbones.weights.downloads import digest
from backbones.weights.published import find_weights
from classification.data.labelled_batches import Pictures
from foundation.errors import UserError, suggest
from reproduction.analyses.analysis_folder import check_figures, measured_once, working_in, write_result
from reproduction.analyses.analyzed_networks import Opened, open_networks, read_analyzed_header, read_batches
from reproduction.analyses.detector_fields import analyze_detectors, has_detector
from reproduction.analysis_config import AnalyzeConfig, RandomNetworksConfig, read_config
from training.config import parse_config
from training.loader import Item

MEASURES = 1  # to be raised with every change of what an analysis measures: arrays of others are not kept


def analyze(
    name: str,
    weights: Sequence[Path],
    out: Path,
    overrides: Sequence[str],
    configs: Sequence[Path] = (),
) -> dict[str, Any]:
    """Measures one analysis on each network, or on each two, on the same pictures for all.

    Networks whose arrays lie in `out` already, from the same weights and options, are not measured again.

    Args:
        name: one of `analysis.kinds.KINDS`.
        weights: classifiers' files with our header, of training or converted, or published names; for
            responses also of networks for segmentation, whose trunks are looked at, and for receptive of
            detectors.
        out: folder for an .npz file of each network or two, result.json, and the figure as .png and .svg.
        overrides: "section.key=value" of `AnalyzeConfig`.
        configs: configurations of detectors, for receptive, see `reproduction.analyses.detector_fields`.
    Returns:
        What result.json holds: the command, the options, and the figures of merit of each network or two.
    Raises:
        UserError: an unknown analysis, key or value; no pictures, or none with labels where they are needed.
        OptionError: a network without what the analysis is of.
        WeightsError: a file that is no classifier's.
    """
    if name not in KINDS:
        raise UserError(f"there is no analysis {name!r}{suggest(name, KINDS)}")
    kind = KINDS[name]
    if configs and name != "receptive":
        raise UserError(f"--config is of tools/analyze.py receptive; {name} is measured on --weights FILE")
    if configs or (name == "receptive" and has_detector(weights)):
        with working_in(out):
            settings, figure = analyze_detectors(configs, weights, out, overrides)
            return write_result(out, figure, overrides, settings, weights=weights, configs=configs)
    if not weights and name == "gradients":
        return _analyze_random_networks(out, overrides)
    if not weights:
        raise UserError(f"{name} is measured on networks: name their files with --weights FILE [FILE …]")
    headers = [read_analyzed_header(name, file) for file in weights]
    config = read_config(name, headers, overrides)
    settings = {"analysis": name, "data": asdict(config.data), "run": asdict(config.run)}
    settings["options"] = asdict(getattr(config, name))
    measured: dict[str, Arrays] = {}
    networks: dict[str, Any] = {}
    opened = open_networks(weights, headers, config, kind.needs_labels(getattr(config, name)))
    groups = combinations_with_replacement(opened, 2) if kind.of_pairs else ((one,) for one in opened)
    with working_in(out):
        for group in groups:
            label = _joined(one.label for one in group)
            about = {"release": MEASURES, "weights": _joined(digest(find_weights(one.file)) for one in group)}
            about |= {"network": label, "pictures": _identify(group[0].pictures), **settings}
            measured[label] = _measure(group, config, out, about)
            if kind.names_classes:
                measured[label]["classes"] = np.array(group[0].classes)
            merit = kind.summarise(measured[label], getattr(config, name))
            check_figures(label, merit)
            files = _joined(one.file for one in group)
            networks[label] = {"weights": files, "sha256": about["weights"], **merit}
        figure = kind.draw(measured, getattr(config, name))
        return write_result(out, figure, overrides, settings | {"networks": networks}, weights=weights)


def _joined(names: Iterable[object]) -> str:
    """What several networks are called together; one that comes twice is named once."""
    return " and ".join(dict.fromkeys(map(str, names)))


def _measure(group: Sequence[Opened], config: AnalyzeConfig, out: Path, about: dict[str, Any]) -> Arrays:
    """What the folder holds about the same, or else is measured and saved there."""
    kind, options = KINDS[about["analysis"]], getattr(config, about["analysis"])
    pictures, device = group[0].pictures, next(group[0].network.parameters()).device

    def measure(**resumed: Any) -> Arrays:
        read = read_batches(pictures, kind.pictures(options), config.run, device, about["network"])
        if kind.of_pairs:
            batches = (tuple(one.pictures.prepare(batch) for one in group) for batch in read)
        else:
            batches = ((pictures.prepare(batch), batch.labels) for batch in read)
        networks = (one.network for one in group)
        return kind.measure(*networks, batches, options, config.run.seed, **resumed)

    return measured_once(out, about, measure, resumes=kind.resumes)


def _analyze_random_networks(out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The experiment of Balduzzi et al. 2017, which needs neither weights nor pictures."""
    source = "tools/analyze.py gradients without --weights"
    config = parse_config(RandomNetworksConfig, {}, overrides, source=source)
    settings: dict[str, Any] = {"analysis": "gradients", "options": asdict(config)}
    with working_in(out):
        arrays = measure_shattering(config.seeds)
        save_arrays(out / "random_networks.npz", arrays, settings)
        settings["networks"] = summarise_shattering(arrays)
        return write_result(out, draw_shattering(arrays), overrides, settings)


def _identify(pictures: Pictures) -> list[Any]:
    """What tells sets of pictures apart: number, classes and labels, and the first one's pixels and path."""
    labels = hashlib.sha256(pictures.labels.numpy().tobytes()).hexdigest()
    first = pictures.read([Item(0, 0)]) if len(pictures) else None
    name = first.ids[0] if first else ""
    pixels = hashlib.sha256(first.images.numpy().tobytes()).hexdigest() if first else ""
    return [len(pictures), list(pictures.classes), labels, name, pixels]


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
