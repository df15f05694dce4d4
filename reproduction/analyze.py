"""Analyses of weight files on any pictures: networks and pictures opened, measured, saved and drawn."""

import hashlib
import json
import logging
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from analysis.arrays import Arrays, load_arrays, save_arrays
from analysis.figures.analysis_figures import draw_shattering
from analysis.kinds import KINDS
from analysis.shattering import measure_shattering, summarise_shattering
from backbones.weights.downloads import digest
from backbones.weights.published import find_weights
from classification.data.labelled_batches import Pictures
from foundation.atomic_files import write_text
from foundation.errors import UserError, suggest
from pictures.plots import save_plot
from reproduction.analyses.analyzed_networks import Opened, open_networks, read_analyzed_header, read_batches
from reproduction.analysis_config import AnalyzeConfig, RandomNetworksConfig, read_config
from training.config import parse_config
from training.loader import Item

logger = logging.getLogger(__name__)

LONGEST_NAME = 80  # characters of a label in the name of a file
MEASURES = 1  # to be raised with every change of what an analysis measures: arrays of others are not kept


def analyze(name: str, weights: Sequence[Path], out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Measures one analysis on each network, or on each two, on the same pictures for all.

    Networks whose arrays lie in `out` already, from the same weights and options, are not measured again.

    Args:
        name: one of `KINDS`.
        weights: classifiers' files with our header, of training or converted, or published names; for
            responses also of networks for segmentation, whose trunks are looked at.
        out: folder for an .npz file of each network or two, result.json, and the figure as .png and .svg.
        overrides: "section.key=value" of `AnalyzeConfig`.
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
    if not weights and name == "gradients":
        return _analyze_random_networks(out, overrides)
    if not weights:
        raise UserError(f"{name} is measured on networks: name their files with --weights FILE [FILE …]")
    headers = [read_analyzed_header(name, file) for file in weights]
    config = read_config(name, headers, overrides)
    make_folder(out)
    settings = {"analysis": name, "data": asdict(config.data), "run": asdict(config.run)}
    settings["options"] = asdict(getattr(config, name))
    measured: dict[str, Arrays] = {}
    networks: dict[str, Any] = {}
    opened = open_networks(weights, headers, config, kind)
    groups = combinations_with_replacement(opened, 2) if kind.of_pairs else ((one,) for one in opened)
    for group in groups:
        label = _joined(one.label for one in group)
        about = {"release": MEASURES, "weights": _joined(digest(find_weights(one.file)) for one in group)}
        about |= {"network": label, "pictures": _identify(group[0].pictures), **settings}
        measured[label] = _measure(name, group, config, out / f"{file_name(label)}.npz", about)
        merit = kind.summarise(measured[label], getattr(config, name))
        files = _joined(one.file for one in group)
        networks[label] = {"weights": files, "sha256": about["weights"], **merit}
    figure = kind.draw(measured, getattr(config, name))
    return _write(out, figure, weights, overrides, settings | {"networks": networks})


def _joined(names: Iterable[object]) -> str:
    """What several networks are called together; one that comes twice is named once."""
    return " and ".join(dict.fromkeys(map(str, names)))


def _measure(
    name: str, group: Sequence[Opened], config: AnalyzeConfig, file: Path, about: dict[str, Any]
) -> Arrays:
    """What the file holds about the same, or else is measured and saved there.

    What a long measurement has kept lies beside the file until it is done.
    """
    found = load_arrays(file, about)
    if found is not None:
        logger.info("%s of %s is there already, from the same weights and options", name, about["network"])
        return found
    logger.info("%s of %s", name, about["network"])
    kind, options, unfinished = KINDS[name], getattr(config, name), file.with_suffix(".unfinished.npz")
    pictures, device = group[0].pictures, next(group[0].network.parameters()).device
    read = read_batches(pictures, kind.pictures(options), config.run, device, about["network"])
    if kind.of_pairs:
        batches = (tuple(one.pictures.prepare(batch) for one in group) for batch in read)
    else:
        batches = ((pictures.prepare(batch), batch.labels) for batch in read)
    resumed: dict[str, Any] = {}
    if kind.resumes:
        resumed["begun"] = load_arrays(unfinished, about)
        resumed["keep"] = partial(save_arrays, unfinished, about=about)
    networks = (one.network for one in group)
    found = kind.measure(*networks, batches, options, config.run.seed, **resumed)
    save_arrays(file, found, about)
    unfinished.unlink(missing_ok=True)
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
