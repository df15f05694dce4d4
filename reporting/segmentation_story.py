"""What there is to say of semantic segmentation: a training, or an evaluation of tools/eval_seg.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reporting import run_facts
from reporting.learning_curves import draw_curves, read_entries
from reporting.page.page_parts import Note, Section, Story, Table
from reporting.page.svg_charts import interval_mark
from reporting.page.wording import per_cent, with_interval
from segmentation.config import SegmentationConfig
from segmentation.results.segmentation_result import NAMES
from training.config import load_config


def is_training(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is of tools/train_seg.py."""
    return sections is not None and {"model", "loss", "testing"} <= set(sections)


def is_evaluation(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is of tools/eval_seg.py."""
    return sections is None and result is not None and result.get("metric") == "segmentation"


def tell_training(folder: Path, name: str, resamples: int) -> tuple[Story, None]:
    """The story of a training.

    Raises:
        UserError: a file is damaged, or the run was never evaluated.
    """
    config = load_config(SegmentationConfig, folder / "config.yaml")
    entries, notes = read_entries(folder / "metrics.jsonl")
    result = run_facts.result_so_far(folder, entries, notes)
    start = config.model.weights or config.model.backbone_weights or "random weights"
    rows = [
        ("Network", f"{config.model.name}, from {start}"),
        ("Data", f"trained on {config.data.kind} {config.data.train}, scored on {config.data.val}"),
        *run_facts.of_training(folder, config, result),
    ]
    sections = [
        run_facts.facts(rows),
        _figures(result, notes),
        Section("Curves", draw_curves(entries)),
        *_classes(result),
        *run_facts.pictures_of(folder),
        run_facts.repeat("train_seg", folder),
        *run_facts.appendix(folder, config),
    ]
    told = [section for section in sections if section.parts]
    kind = f"training of segmentation, {config.data.kind} {config.data.val}"
    return Story(name, kind, _headline(result), told), None


def tell_evaluation(folder: Path, name: str, resamples: int) -> tuple[Story, None]:
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
    sections = [run_facts.facts(rows), _figures(result, []), *_classes(result)]
    return Story(name, "evaluation of segmentation", _headline(result), sections), None


def _headline(result: Mapping[str, Any]) -> str:
    return f"Segmentation: {NAMES['mIoU']} {per_cent(result['scores'].get('mIoU'))} %"


def _figures(result: Mapping[str, Any], notes: list[Note]) -> Section:
    interval = result.get("interval", {})
    rows = [
        [f"{NAMES.get(name, name)}, %", with_interval(per_cent(value), *_ends(interval.get(name)))]
        for name, value in result["scores"].items()
    ]
    pictures = result.get("pictures")
    counted = f"On {pictures:,} pictures. " if pictures else ""
    how = (
        "The interval, 95 %, is over the choice of pictures, not over other trainings."
        if interval
        else "An interval of the mean IoU comes with tools/eval_seg.py --bootstrap."
    )
    return Section("Figures", [Table(["figure", "value"], rows), Note(counted + how), *notes])


def _ends(interval: list[float | None] | None) -> tuple[str, str]:
    low, high = interval or (None, None)
    return per_cent(low), per_cent(high)


def _classes(result: Mapping[str, Any]) -> list[Section]:
    """The IoU of every class, the worst first; those that have none come last."""
    ious = result.get("class_iou", {})
    if not ious:
        return []
    ranked = sorted(ious.items(), key=lambda item: (item[1] is None, item[1]))
    rows = [[name, per_cent(iou), interval_mark(iou, None, None, (0, 1))] for name, iou in ranked]
    note = "The background is a class. One that neither is in the label maps nor was found has no IoU."
    return [Section("Classes", [Table(["class", "IoU, %", "0 to 100"], rows, tall=True), Note(note)])]
