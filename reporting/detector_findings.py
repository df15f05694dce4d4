"""A detector's predictions beside the truth: intervals, curves, kinds of errors, worst pictures.

All of it is computed from predictions.json where the data set is at hand, and else taken from what
`tools/eval_det.py --report --bootstrap N` left in the folder.
"""

import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detection.config import DetectionConfig
from detection.data.annotations import DetectionDataset
from detection.data.coco_dataset import CocoDataset
from detection.data.dataset_splits import open_dataset, parse_split
from detection.data.voc_dataset import VocDataset
from detection.metrics.bootstrap import class_resamples, resampled
from detection.metrics.conventions import (
    COCO,
    COCO50,
    VOC12,
    ClassMatches,
    Conventions,
    class_matches,
    mean_of,
)
from detection.metrics.mask_matches import match_masks
from detection.metrics.matching import Matched
from detection.results.comparison import Comparison
from detection.results.error_analysis import curve_table, find_errors
from detection.results.metrics_by_name import METRICS, coco_annotations
from detection.results.result_records import from_coco_records, has_masks
from detection.results.worst_cases import draw_worst
from detection.types import Prediction
from foundation.errors import UserError
from foundation.file_reading import read_json
from pictures.annotations.coco_split import CocoSplit
from reporting.page.embedded_pictures import gallery
from reporting.page.page_parts import Gallery, Note
from reporting.picture_intervals import SEED, Floats, Resampled, interval

WORST = 6  # pictures of each kind
KINDS = {"false_alarms": "Surest false alarms", "misses": "Largest misses"}  # folders of `draw_worst`
MASKS = "segm/"  # how the figures of masks are named
AGAIN = "score the weights again with tools/eval_det.py --out"


@dataclass
class Findings:
    """What is known beside the scores; empty where it is not.

    Attributes:
        intervals: of the main figure, and of that of masks, 0…1.
        classes: of each class the interval of its AP, and its objects.
        curves: of `curve_table`.
        errors: of `find_errors`, with "AP50".
        worst: a title and pictures, of each kind.
        resampled: of the main figure, of that of masks, and of the AP of boxes of the classes with an object
            that counts.
    """

    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    classes: dict[str, tuple[float | None, float | None, int]] = field(default_factory=dict)
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, Any] | None = None
    worst: list[tuple[str, list[Gallery | Note]]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    resampled: Resampled | None = None


def find(folder: Path, result: Mapping[str, Any], config: DetectionConfig | None, resamples: int) -> Findings:
    """All that can be found out about the predictions of a folder.

    Args:
        result: of result.json, or of the last evaluation.
        config: of a training; None of a folder of tools/eval_det.py, whose result says what it is of.
        resamples: of the pictures, for intervals.
    Raises:
        UserError: a file of the folder is damaged.
    """
    about = result.get("evaluated", {})
    file = folder / "predictions.json"
    if not file.is_file() and "predictions" in about:
        file = Path(about["predictions"])
    try:
        if not file.is_file():
            raise UserError(f"there is no {file}; {AGAIN}")
        masks = any(name.startswith(MASKS) for name in result["scores"])
        dataset = _open(about, config, masks)
        records = read_json(file, AGAIN)
        if isinstance(records, dict):
            raise UserError(f"{file} numbers its pictures itself; {AGAIN}")
        predictions = from_coco_records(records, dataset, str(file))
    except UserError as error:
        found = _kept(folder, result)
        found.notes.append(Note(f"Nothing could be computed anew from the pictures: {error}."))
        return found
    return _computed(Comparison(dataset, predictions, records), folder, result, resamples)


def _open(about: Mapping[str, Any], config: DetectionConfig | None, masks: bool) -> DetectionDataset:
    """The data set of a training's validation, or of an evaluation, if it lies where it did."""
    if config is not None:
        dataset = open_dataset(config.data, config.data.val, masks=masks)
    else:
        files = parse_split(str(about.get("dataset", "")))
        if isinstance(files, CocoSplit):
            dataset = CocoDataset(
                files.annotation_file, Path(about.get("pictures") or files.pictures), masks=masks
            )
        elif files is not None:
            dataset = VocDataset(files.folder.parent, [(files.year, files.name)])
        else:
            raise UserError(f"the folder does not say on which data it was scored; {AGAIN}")
    if not dataset.has_truth:
        raise UserError("the set has no annotations; choose a split that has")
    return dataset


def _computed(compared: Comparison, folder: Path, result: Mapping[str, Any], resamples: int) -> Findings:
    """From the predictions and the truth, by the matching and the conventions of the figure itself."""
    metric = METRICS[result["metric"]]
    how = metric.conventions or VOC12
    dataset, matched = compared.dataset, compared.matched(how)
    matches = class_matches(matched)
    mean = mean_of(matches, how)
    found = Findings(curves=curve_table(matches, how, dataset.classes))
    stated = result["scores"].get(metric.main)
    if stated is not None and not math.isclose(stated, mean, abs_tol=5e-4):
        text = (
            f"predictions.json gives {metric.main} {100 * mean:.2f}, not {100 * stated:.2f} of the result: "
            "it is of another evaluation, or the set has changed. What follows is of predictions.json."
        )
        found.notes.append(Note(text, warning=True))
    if metric.conventions is not None and matches:
        _resample(found, compared, metric.main, matches, how, resamples)
        if any(name.startswith(MASKS) for name in result["scores"]):
            _resample_masks(found, compared, metric.main, resamples)
    errors = find_errors(compared.annotations, compared.records)
    base = mean_of(class_matches(compared.coco), COCO50)
    found.errors = {**errors, "AP50": None if math.isnan(base) else base}
    found.worst = _worst(folder) or _draw(compared.predictions, dataset, matched, found.notes)
    return found


def _resample(
    found: Findings,
    compared: Comparison,
    main: str,
    matches: Sequence[ClassMatches],
    how: Conventions,
    resamples: int,
) -> None:
    """Intervals of the main figure and of every class."""
    dataset = compared.dataset
    names = [dataset.classes[one.label - 1] for one in matches]
    aps = class_resamples(matches, len(dataset), how, resamples, SEED)
    for name, one, values in zip(names, matches, aps, strict=True):
        found.classes[name] = (*interval(values), int(one.objects.sum()))
    figures = np.array([mean_of([one], how) for one in matches])
    found.resampled = Resampled(dataset.fingerprint(), {}, {}, names, figures, aps)
    _keep(found, main, mean_of(matches, how), resampled(aps))


def _resample_masks(found: Findings, compared: Comparison, main: str, resamples: int) -> None:
    """The interval of the figure of masks, where the truth that is at hand has some."""
    try:
        annotations = coco_annotations(compared.dataset)
        if not has_masks(annotations["annotations"]):
            raise UserError("the annotations have none")
        matches = match_masks(annotations, compared.records)
    except UserError as error:
        found.notes.append(Note(f"No interval of masks: {error}."))
        return
    aps = class_resamples(matches, len(compared.dataset), COCO, resamples, SEED)
    _keep(found, f"{MASKS}{main}", mean_of(matches, COCO), resampled(aps))


def _keep(found: Findings, name: str, mean: float, values: Floats) -> None:
    low, high = interval(values)
    if low is not None and high is not None:
        found.intervals[name] = low, high
    if found.resampled is not None:
        found.resampled.means[name], found.resampled.resamples[name] = mean, values


def _kept(folder: Path, result: Mapping[str, Any]) -> Findings:
    """What an evaluation with --report and --bootstrap has left in the folder."""
    found = Findings(errors=result.get("errors"), worst=_worst(folder))
    kept = result.get("interval", {})
    if None not in (kept.get("low"), kept.get("high")):
        found.intervals[METRICS[result["metric"]].main] = kept["low"], kept["high"]
    if (folder / "curves.json").is_file():
        found.curves = read_json(folder / "curves.json", AGAIN)
    return found


def _worst(folder: Path) -> list[tuple[str, list[Gallery | Note]]]:
    files = {title: sorted((folder / kind).glob("*.png"))[:WORST] for kind, title in KINDS.items()}
    return [(title, gallery(of_kind, caption=_caption)) for title, of_kind in files.items() if of_kind]


def _caption(file: Path) -> str:
    """In words what `draw_worst` names its files after: "001_cat_0.93_000012", "001_cat_iou0.41_000012"."""
    parts = re.fullmatch(r"\d+_(.+?)_(iou)?([01]\.\d\d)_(.*)", file.stem)
    if parts is None:
        return file.stem
    name, overlap, value, picture = parts.groups()
    return f"{name}, {'nearest IoU' if overlap else 'score'} {value}; picture {picture}"


def _draw(
    predictions: Sequence[Prediction], dataset: DetectionDataset, matched: Matched, notes: list[Note]
) -> list[tuple[str, list[Gallery | Note]]]:
    """The worst pictures, drawn for the page alone."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            draw_worst(predictions, dataset, matched, Path(folder), WORST)
        except UserError as error:
            notes.append(Note(f"The worst pictures are not shown: {error}."))
        return _worst(Path(folder))
