"""Receptive fields of detectors, beside the anchors that are predicted from them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from analysis.arrays import Arrays
from analysis.figures.receptive_figure import draw_receptive_fields
from analysis.maps.receptive_fields import (
    ReceptiveOptions,
    fit,
    measure_fields,
    summarise_receptive_fields,
)
from backbones.explain.theoretical_fields import Field, find_fields
from backbones.norm import calibrate_batchnorm
from backbones.weights.downloads import digest
from backbones.weights.weight_files import read_header
from detection.build import assemble, load_detector
from detection.config import DetectionConfig
from detection.data.dataset_splits import open_dataset
from detection.data.detection_batches import picture_batch
from detection.model.anchors import make_anchors
from detection.model.detector import FasterRCNN
from foundation.errors import UserError
from pictures.decoding import load_image
from reproduction.analyses.analysis_folder import check_figures, measured_once
from reproduction.analysis_config import RunOptions
from training.config import load_config, parse_config
from training.devices import resolve_device
from training.progress.progress_bar import watched
from training.seeding import DRAWING, seeded

WIDEST = 512  # pixels a side of what is seen where a field is the whole picture


@dataclass(frozen=True)
class DetectorFieldsConfig:
    """What `tools/analyze.py receptive` can be told of detectors, beside changes to their configurations."""

    run: RunOptions = field(default_factory=RunOptions)
    receptive: ReceptiveOptions = field(default_factory=ReceptiveOptions)


@dataclass(frozen=True)
class _Detector:
    """A detector to be looked at, of a weight file with its digest, or random."""

    label: str
    model: FasterRCNN
    config: DetectionConfig
    weights: Path | None = None
    sha256: str | None = None


def has_detector(weights: Sequence[Path]) -> bool:
    """Whether the weight files are detectors'; raises a `UserError` where only some are."""
    headers = [read_header(file) for file in weights]
    found = [header is not None and header.model == FasterRCNN.__name__ for header in headers]
    if len(set(found)) > 1:
        raise UserError(
            f"{weights[found.index(True)]} is a detector's and {weights[found.index(False)]} is not; look at "
            "detectors and classifiers in a command of their own each"
        )
    return any(found)


def analyze_detectors(
    configs: Sequence[Path], weights: Sequence[Path], out: Path, overrides: Sequence[str]
) -> tuple[dict[str, Any], Any]:
    """Receptive fields of what detectors predict their anchors from: the 3x3 layer of the RPN on each map.

    A detector of a configuration is random, but for a backbone whose weights an override names, its
    normalisation is calibrated, and it sees unit normal noise. One of a weight file sees its validation
    pictures, resized as in its evaluation.

    Args:
        out: holds the arrays of each, which are measured once.
        overrides: of `DetectorFieldsConfig`, and of the detectors' configurations.
    Returns:
        What result.json holds beside the command, and the figure.
    Raises:
        UserError: an unknown key, two detectors of one name, a weight file of another kind.
    """
    own = [text for text in overrides if text.partition(".")[0] in ("run", "receptive")]
    config = parse_config(DetectorFieldsConfig, {}, own, source="tools/analyze.py receptive")
    device = resolve_device(config.run.device, float64=True)
    changes = [text for text in overrides if text not in own]
    settings = {"analysis": "receptive", "run": asdict(config.run), "options": asdict(config.receptive)}
    measured: dict[str, Arrays] = {}
    networks: dict[str, Any] = {}
    anchors: dict[str, dict[str, NDArray[np.float64]]] = {}
    for one in _open(configs, weights, changes, config.run.seed):
        maps = RpnMaps(one.model.to(device))
        about = {**settings, "network": one.label, "weights": one.sha256, "detector": asdict(one.config)}
        arrays = measured_once(out, about, partial(_measure, one, maps, config, device))
        rows = summarise_receptive_fields(arrays)
        check_figures(one.label, rows)
        for row, size in zip(rows["fields"], arrays["of_the_map"].tolist(), strict=True):
            row["of_the_map"] = int(size) if math.isfinite(size) else "the whole picture"
            row["anchors"] = list(maps.anchor_sizes[row["map"]])
        source = {"weights": str(one.weights), "sha256": one.sha256} if one.weights else {"weights": "random"}
        measured[one.label], networks[one.label] = arrays, source | rows
        anchors[one.label] = {name: maps.anchors(name) for name in maps.strides}
    return settings | {"networks": networks}, draw_receptive_fields(measured, anchors)


def _open(
    configs: Sequence[Path], weights: Sequence[Path], changes: Sequence[str], seed: int
) -> Iterator[_Detector]:
    """The detectors of configurations, then those of weight files, one after the other."""
    labels = [path.stem for path in configs]
    labels += ["/".join(path.with_suffix("").parts[-2:]) for path in weights]
    for label in labels:
        if labels.count(label) > 1:
            raise UserError(f"two detectors would be called {label}; give each file once, or rename one")
    trained = any(text.startswith("backbone.weights=") for text in changes)
    for label, path in zip(labels[: len(configs)], configs, strict=True):
        config = load_config(DetectionConfig, path, changes)
        with DRAWING, seeded(seed):
            model = assemble(config, num_classes=1, weights=config.backbone.weights if trained else None)
        yield _Detector(label, model.eval(), config)
    for label, path in zip(labels[len(configs) :], weights, strict=True):
        loaded = load_detector(path, changes)
        yield _Detector(label, loaded.model, loaded.config, path, digest(path))


class RpnMaps:
    """What a detector's RPN makes of every map with its 3x3 layer; of pictures (N, 3, H, W), normalised.

    Attributes:
        trunk: whose maps the RPN reads.
        strides: of each map by its name: a pyramid's are P2, P3, …
        anchor_sizes: of each map, pixels.
    """

    def __init__(self, model: FasterRCNN) -> None:
        self.trunk: Any = getattr(model, "proposal_trunk", model.trunk)
        self.head, self.ratios = model.rpn.head, model.rpn.options.anchor_ratios
        self.names = {
            key: f"P{spec.stride.bit_length() - 1}" if key.isdigit() or key == "pool" else key
            for key, spec in model.feature_specs.items()
        }
        self.strides = {self.names[key]: spec.stride for key, spec in model.feature_specs.items()}
        sizes = np.array(model.rpn.anchor_sizes).reshape(len(self.names), -1)
        self.anchor_sizes = dict(zip(self.strides, sizes.tolist(), strict=True))

    def own(self, images: Tensor) -> dict[str, Tensor]:
        """The maps themselves."""
        return {self.names[key]: values for key, values in self.trunk(images).items() if key in self.names}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        return {name: F.relu(self.head.conv(values)) for name, values in self.own(images).items()}

    def anchors(self, name: str) -> NDArray[np.float64]:
        """(A, 4) xyxy around the cell's place, in pixels."""
        sizes, stride = tuple(self.anchor_sizes[name]), self.strides[name]
        found = make_anchors(
            (stride, stride), (1, 1), sizes=sizes, ratios=self.ratios, device=torch.device("cpu")
        )
        return found.double().numpy()


def _measure(one: _Detector, maps: RpnMaps, config: DetectorFieldsConfig, device: torch.device) -> Arrays:
    options = config.receptive
    fields = find_fields(maps, maps.strides, device)
    own = find_fields(maps.own, maps.strides, device)
    side = options.side or _side(fields)
    if one.weights is None or options.noise:
        pictures = _noise(options.pictures, side, config.run.seed, device)
    else:
        pictures = _validation_pictures(one, options.pictures, side, device)
    if one.weights is None:
        calibrate_batchnorm(maps.trunk, _noise(1, side, config.run.seed, device))
    arrays = measure_fields(maps, fields, watched(pictures, options.pictures, title=one.label))
    return arrays | {"of_the_map": np.array([field.size for field in own.values()], dtype=float)}


def _side(fields: dict[str, Field]) -> int:
    """So large that no field ends at a border, and that the middle is a cell of every map."""
    coarsest = max(field.stride for field in fields.values())
    widest = max(field.size if math.isfinite(field.size) else WIDEST for field in fields.values())
    return math.ceil((widest + 2 * coarsest) / (2 * coarsest)) * 2 * coarsest


def _noise(count: int | None, side: int, seed: int, device: torch.device) -> Iterator[Tensor]:
    if count is None:
        raise UserError("receptive.pictures=null takes all, and of noise there is no end; give a number")
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.randn(1, 3, side, side, generator=generator).to(device)


def _validation_pictures(
    one: _Detector, count: int | None, side: int, device: torch.device
) -> Iterator[Tensor]:
    """Pictures of data.val, resized as the detector sees them and brought to `side`, normalised."""
    data = one.config.data
    dataset = open_dataset(data, data.val)
    for index in range(len(dataset))[:count]:
        batch = picture_batch(load_image(dataset.image_path(index)), data)
        height, width = batch.sizes[0].int().tolist()
        images = one.model.trunk.input_spec.normalise(batch.images[:, :, :height, :width].to(device))
        yield fit(images, side)
