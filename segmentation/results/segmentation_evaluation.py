"""Evaluation of semantic segmentation: of weights, or of anybody's folder of label maps."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from backbones.lesion import without_blocks
from backbones.weights.downloads import digest
from foundation.atomic_files import make_folder, write_json
from foundation.errors import UserError
from segmentation.build import load_trained
from segmentation.config import SegmentationConfig
from segmentation.data.label_maps import write_label_map
from segmentation.data.segmentation_sets import open_set
from segmentation.metrics.boundary_score import boundary_f
from segmentation.metrics.confusion_matrix import ConfusionMatrix, PictureCounts
from segmentation.metrics.label_figures import Floats
from segmentation.results.counted_pictures import name_pictures
from segmentation.results.mask_files import check_masks, mask_name, read_prediction
from segmentation.results.segmentation_result import segmentation_result
from segmentation.set_search import search_set
from segmentation.types import SegmentationDataset
from training.config import load_config
from training.devices import gather_objects, is_main, process_group, resolve_device
from training.progress.computing_cost import measured
from training.run_folder import PER_PICTURE


class Scored(NamedTuple):
    """The figures as result.json has them, the set, and the counts of its pictures; None without truth."""

    result: dict[str, Any]
    dataset: SegmentationDataset
    counts: PictureCounts | None = None


class Scorer:
    """Counts label maps picture by picture, and with boundaries their boundary F."""

    def __init__(self, dataset: SegmentationDataset, *, boundaries: bool) -> None:
        self.dataset = dataset
        self.matrix = ConfusionMatrix(len(dataset.classes))
        self.boundaries: list[Floats] | None = [] if boundaries else None

    def add(self, found: Tensor, truth: Tensor) -> None:
        """One picture's label maps (H, W) uint8."""
        self.matrix.add(found, truth)
        if self.boundaries is not None:
            maps = found.cpu().numpy(), truth.cpu().numpy()
            self.boundaries.append(boundary_f(*maps, len(self.dataset.classes)))

    def scored(self, resamples: int) -> Scored:
        """Of the pictures of all processes, which all call it; see `segmentation_result`."""
        boundaries = self.boundaries
        if boundaries is not None:
            boundaries = [one for part in gather_objects(boundaries) for one in part]
        matrix, counts = self.matrix.merged(), self.matrix.merged_pictures()
        more: dict[str, Any] = {"boundaries": boundaries, "resamples": resamples}
        result = segmentation_result(matrix, self.dataset.classes, counts, **more)
        return Scored(result, self.dataset, counts)


def evaluate_segmentation(
    *,
    weights: Path | None,
    predictions: Path | None,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    masks: Path | None = None,
    boundaries: bool = False,
    bootstrap: int | None = None,
    without: Sequence[str] = (),
) -> dict[str, Any] | None:
    """Scores a network on the validation split of its training, or a folder of PNGs on a set.

    Args:
        weights: of tools/train_seg.py.
        predictions: a folder with a PNG of indices for each picture; no network is involved, and the
            overrides say which set: data.kind, data.root, data.val.
        overrides: changes to the configuration of the training.
        out: folder for result.json, and per_picture.npz, which holds the counts of every picture.
        masks: folder for what the network finds, PNGs of indices; also of a split without truth.
        boundaries: also the boundary F, which takes longer.
        bootstrap: resamples of the pictures for the interval of the mean IoU; None leaves it out.
        without: blocks of the backbone, as "res3.1", whose residuals are left out; see `backbones.lesion`.
            What has a "=" counts among the overrides: behind --without argparse takes key=value for blocks.
    Returns:
        As `segmentation_result`, with what it is of; None in processes other than the main one.
    Raises:
        UserError: files that do not fit the data, an argument that has no effect, or resamples below 1.
        OptionError: the backbone has no such block.
    """
    overrides = [text for text in without if "=" in text] + list(overrides)
    blocks = [text for text in without if "=" not in text]
    if (weights is None) == (predictions is None):
        raise UserError("give --weights FILE, or --predictions FOLDER of PNGs")
    if bootstrap is not None and bootstrap < 1:
        raise UserError(f"--bootstrap must be 1 or more resamples, got {bootstrap}")
    if predictions is not None:
        if masks is not None:
            raise UserError("--masks belongs to --weights: the predictions are label maps already")
        if blocks:
            raise UserError("--without belongs to --weights: label maps have no blocks to be left out")
        scored = _score_folder(predictions, overrides, boundaries, bootstrap or 0)
    else:
        assert weights is not None
        scored = _score_weights(weights, overrides, masks, boundaries, bootstrap or 0, blocks)
    if not is_main():
        return None
    if out is not None:
        if scored.counts is not None:
            pictures = name_pictures(scored.dataset, scored.dataset.fingerprint(), scored.counts)
            pictures.save(out / PER_PICTURE)
        write_json(out / "result.json", scored.result, indent=1)
    return scored.result


def _score_weights(
    weights: Path,
    overrides: Sequence[str],
    masks: Path | None,
    boundaries: bool,
    bootstrap: int,
    blocks: Sequence[str],
) -> Scored:
    network, config, classes = load_trained(weights, overrides)
    dataset = open_set(config.data, config.data.val)
    if dataset.classes != classes:
        raise UserError(
            f"{weights} knows {len(classes)} classes, data.val={config.data.val} has {len(dataset.classes)}, "
            "or their names differ: choose data to match"
        )
    if not dataset.has_truth and masks is None:
        raise UserError(
            f"{config.data.val} has no label maps to score with; give --masks FOLDER for its server"
        )
    scorer = Scorer(dataset, boundaries=boundaries)

    def use(index: int, found: Tensor, truth: Tensor) -> None:
        if masks is not None:
            file = masks / mask_name(dataset.image_id(index))
            make_folder(file.parent)
            write_label_map(file, found.cpu().numpy())
        if dataset.has_truth:
            scorer.add(found, truth)

    device = resolve_device(config.run.device)
    with (
        process_group(device),
        without_blocks(network, blocks),
        measured(device, len(dataset)) as cost,
    ):
        search_set(network.to(device), dataset, config, use)
        scored = scorer.scored(bootstrap) if dataset.has_truth else Scored({}, dataset)
    about = {"weights": str(weights), "sha256": digest(weights), "cost": cost}
    about |= {"without": list(blocks)} if blocks else {}
    return _said(scored, about, config)


def _score_folder(folder: Path, overrides: Sequence[str], boundaries: bool, bootstrap: int) -> Scored:
    config = load_config(SegmentationConfig, None, overrides)
    dataset = open_set(config.data, config.data.val)
    if not dataset.has_truth:
        raise UserError(f"{config.data.val} has no label maps to score with; take a split that has")
    check_masks(folder, dataset)
    scorer = Scorer(dataset, boundaries=boundaries)
    for index in range(len(dataset)):
        truth = dataset.load_labels(index)
        size = (truth.shape[0], truth.shape[1])
        found = read_prediction(folder, dataset.image_id(index), size, dataset.classes)
        scorer.add(torch.from_numpy(found), torch.from_numpy(truth.copy()))
    return _said(scorer.scored(bootstrap), {"predictions": str(folder)}, config)


def _said(scored: Scored, about: dict[str, Any], config: SegmentationConfig) -> Scored:
    """With what it is of."""
    about = {**about, "config": json.loads(json.dumps(asdict(config)))}
    return scored._replace(result=scored.result | {"evaluated": about})
