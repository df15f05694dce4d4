"""What there is to say of semantic segmentation: a training, or an evaluation of tools/eval_seg.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reporting import run_facts
from reporting.learning_curves import Entries, draw_curves, read_entries
from reporting.page.page_parts import Note, Section, Story, Table
from reporting.page.svg_charts import interval_mark
from reporting.page.wording import share_with_interval
from reporting.picture_intervals import (
    SEED,
    Intervals,
    Resampled,
    interval,
    kept_pictures,
    score_section,
)
from segmentation.config import SegmentationConfig
from segmentation.metrics.iou_bootstrap import resampled_class_ious, total_ious
from segmentation.metrics.label_figures import mean_known
from segmentation.results.counted_pictures import CountedPictures, load_counted_pictures
from segmentation.results.segmentation_result import NAMES
from training.config import load_config


@dataclass(frozen=True)
class SegmentationRun:
    """What a comparison of networks for segmentation needs of one.

    Attributes:
        config: of its training; None where it is not known.
        entries: what its training reported.
        class_iou: 0…1 by class; empty of a run under way.
        resampled: None where nothing is known of single pictures.
    """

    name: str
    config: SegmentationConfig | None
    entries: Entries
    scores: Mapping[str, float | None]
    class_iou: Mapping[str, float | None]
    intervals: Intervals
    resampled: Resampled | None


def is_training(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is of tools/train_seg.py."""
    return sections is not None and {"model", "loss", "testing"} <= set(sections)


def is_evaluation(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is of tools/eval_seg.py."""
    return sections is None and result is not None and result.get("metric") == "segmentation"


def tell_training(folder: Path, name: str, resamples: int) -> tuple[Story, SegmentationRun]:
    """The story of a training.

    Raises:
        UserError: a file is damaged, or the run was never evaluated.
    """
    config = load_config(SegmentationConfig, folder / "config.yaml")
    entries, notes = read_entries(folder / "metrics.jsonl")
    result = run_facts.result_so_far(folder, entries, notes)
    resampled, intervals, more = _resample(folder, result, resamples)
    start = config.model.weights or config.model.backbone_weights or "random weights"
    rows = [
        ("Network", f"{config.model.name}, from {start}"),
        ("Data", f"trained on {config.data.kind} {config.data.train}, scored on {config.data.val}"),
        *run_facts.of_training(folder, config, result),
    ]
    sections = [
        run_facts.facts(rows),
        score_section(result, NAMES, intervals, notes + more),
        Section("Curves", draw_curves(entries)),
        *_classes(result, resampled),
        *run_facts.pictures_of(folder),
        run_facts.repeat("train_seg", folder),
        *run_facts.appendix(folder, config),
    ]
    told = [section for section in sections if section.parts]
    kind = f"training of segmentation, {config.data.kind} {config.data.val}"
    story = Story(name, kind, _headline(result, intervals), told)
    return story, _run(name, config, entries, result, intervals, resampled)


def tell_evaluation(folder: Path, name: str, resamples: int) -> tuple[Story, SegmentationRun]:
    """The story of a folder of tools/eval_seg.py; the errors are those of `tell_training`."""
    result = run_facts.read_result(folder)
    assert result is not None  # else it were no such folder
    about = result.get("evaluated", {})
    names = {"weights": "Weights", "predictions": "Label maps", "sha256": "SHA-256"}
    rows = [(words, str(about[key])) for key, words in names.items() if key in about]
    if about.get("without"):
        rows.append(("Without", ", ".join(about["without"])))
    if data := about.get("config", {}).get("data"):
        rows.append(("Data", f"{data.get('kind')} {data.get('val')}"))
    rows += run_facts.when(folder)
    config = run_facts.evaluated_config(SegmentationConfig, folder, about) if "weights" in about else None
    resampled, intervals, notes = _resample(folder, result, resamples)
    sections = [
        run_facts.facts(rows),
        score_section(result, NAMES, intervals, notes),
        *_classes(result, resampled),
    ]
    story = Story(name, "evaluation of segmentation", _headline(result, intervals), sections)
    return story, _run(name, config, (), result, intervals, resampled)


def _run(
    name: str,
    config: SegmentationConfig | None,
    entries: Entries,
    result: Mapping[str, Any],
    intervals: Intervals,
    resampled: Resampled | None,
) -> SegmentationRun:
    class_iou = result.get("class_iou", {})
    return SegmentationRun(name, config, entries, result["scores"], class_iou, intervals, resampled)


def _headline(result: Mapping[str, Any], intervals: Intervals) -> str:
    text = share_with_interval(result["scores"].get("mIoU"), intervals.get("mIoU"))
    return f"Segmentation: {NAMES['mIoU']} {text} %"


def _resample(
    folder: Path, result: Mapping[str, Any], resamples: int
) -> tuple[Resampled | None, Intervals, list[Note]]:
    """From the counts of every picture; without them the interval that the evaluation has written, if any."""
    kept, notes = kept_pictures(folder, result, load_counted_pictures, "eval_seg")
    if kept is None:
        stated = result.get("interval", {})
        return None, {"mIoU": stated["mIoU"]} if "mIoU" in stated else {}, notes
    resampled = resample_counts(kept, resamples)
    return resampled, {"mIoU": interval(resampled.resamples["mIoU"])}, notes


def resample_counts(pictures: CountedPictures, resamples: int) -> Resampled:
    """The IoU of every class and their mean, of all pictures and of resamples of them."""
    ious = resampled_class_ious(pictures.counts, resamples, SEED)
    means = {"mIoU": mean_known(ious, axis=1)}
    figures = total_ious(pictures.counts)
    return Resampled(pictures.fingerprint, pictures.scores, means, pictures.classes, figures, ious.T)


def ranked_classes(class_iou: Mapping[str, float | None]) -> list[str]:
    """The worst first; those that have no IoU come last."""
    return sorted(class_iou, key=lambda name: (class_iou[name] is None, class_iou[name]))


def _classes(result: Mapping[str, Any], resampled: Resampled | None) -> list[Section]:
    """The IoU of every class, with its interval where it is known."""
    ious = result.get("class_iou", {})
    if not ious:
        return []
    ends = {}
    if resampled is not None:
        ends = dict(zip(resampled.classes, map(interval, resampled.class_resamples), strict=True))
    rows = []
    for name in ranked_classes(ious):
        low, high = ends.get(name, (None, None))
        mark = interval_mark(ious[name], low, high, (0, 1))
        rows.append([name, share_with_interval(ious[name], (low, high)), mark])
    note = "The background is a class. One that neither is in the label maps nor was found has no IoU."
    return [Section("Classes", [Table(["class", "IoU, %", "0 to 100"], rows, tall=True), Note(note)])]
