"""The set that result files are scored on, as a command line names it."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from detection.config import DetectionConfig
from detection.data.coco_dataset import CocoDataset
from detection.data.dataset_splits import open_dataset, parse_split
from detection.data.voc_dataset import VocDataset
from detection.own_sets.given_sets import GivenSet, parse_given
from detection.results.detection_report import EvaluatedSplit, ReportOptions
from detection.results.metrics_by_name import OWN_METRICS
from foundation.errors import UserError
from pictures.annotations.coco_split import CocoSplit, coco_split_name
from training.config import load_config, override_values


class ScoredSet(NamedTuple):
    """A set to score on.

    Attributes:
        split: the open data set, with its metric.
        folders: those that result files may name its pictures relative to.
        about: what result.json says of it.
    """

    split: EvaluatedSplit
    folders: list[Path]
    about: dict[str, Any]


def open_scored_set(
    text: str | None, method: str | None, overrides: Sequence[str], options: ReportOptions
) -> ScoredSet:
    """Opens what --dataset names.

    Args:
        text: "coco:ANNOTATIONS.json", "voc:DEVKIT/VOC<year>:<split>", or KIND:ROOT[:SPLIT] of a set in any
            layout, which is what a training with data.kind, data.root and data.val validates on.
        method: of VOC AP, "area" or "11point". Without it the metric of KIND:ROOT is that of `overrides`,
            else VOC AP by area of kind voc, ILSVRC's of its detection task, and COCO's of all others.
        overrides: of KIND:ROOT alone: data.… as the training had them, for instance data.classes, and metric.
        options: their `pictures` is the folder of the pictures, where it is not found by itself.
    Raises:
        UserError: the text is of another form, an argument has no effect, or a file is missing or malformed.
    """
    metric = {"11point": "voc07", "area": "voc12"}[method or "area"]
    if given := parse_given(text or ""):
        own = metric if method else OWN_METRICS.get(given.kind, "coco")
        return _open_given(given, own, method, overrides, options)
    if overrides:
        raise UserError(
            f"{overrides[0]} changes a detector's configuration, which belongs to --weights; with "
            "--predictions choose the set with --dataset and the metric with --method"
        )
    files, about = parse_split(text or ""), {"dataset": text, "pictures": str(options.pictures or "") or None}
    if files is None:
        raise UserError(
            "--dataset must be KIND:ROOT[:SPLIT] of a folder, KIND as data.kind, or coco:ANNOTATIONS.json or "
            f"voc:DEVKIT/VOC<year>:<split>, got {text!r}; for instance voc:data/VOCdevkit/VOC2007:test"
        )
    if isinstance(files, CocoSplit):
        if method:
            raise UserError("--method is of VOC AP; leave it out with --dataset coco:…, or score on voc:…")
        file, folder = files.annotation_file, options.pictures or files.pictures
        split = EvaluatedSplit(CocoDataset(file, folder), "coco", coco_split_name(file), "coco")
        return ScoredSet(split, [folder], about)
    truth = VocDataset(files.folder.parent, [(files.year, files.name)])
    return ScoredSet(EvaluatedSplit(truth, "voc", str(files), metric), [files.folder / "JPEGImages"], about)


def _open_given(
    given: GivenSet, metric: str, method: str | None, overrides: Sequence[str], options: ReportOptions
) -> ScoredSet:
    for other in [entry for entry in overrides if not entry.startswith(("data.", "metric="))]:
        raise UserError(f"{other} belongs to --weights; --predictions takes metric=… and data.… of its set")
    named = override_values(overrides)
    if method and "metric" in named:
        raise UserError(
            f"--method {method} and metric={named['metric']} both choose the metric; leave one out"
        )
    chosen = [f"data.kind={given.kind}", f"data.root={given.root}"]
    chosen += [f"data.val={given.split}"] if given.split else []
    chosen += [f"data.pictures={options.pictures.absolute()}"] if options.pictures else []
    config = load_config(DetectionConfig, None, [*chosen, f"metric={metric}", *overrides])
    truth = open_dataset(config.data, config.data.val)
    parents = {str(truth.image_path(index).parent) for index in range(len(truth))}
    common = [Path(os.path.commonpath(parents))] if parents else []
    split = EvaluatedSplit(truth, given.kind, config.data.val, config.metric)
    return ScoredSet(split, [Path(given.root), *common], {"config": json.loads(json.dumps(asdict(config)))})
