"""What there is to say of a detector: its training, or an evaluation of its weights or of a result file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detection.config import DetectionConfig
from detection.metrics.voc_ap import Curve, sampled_precision
from detection.results.error_analysis import ERRORS
from detection.results.metrics_by_name import METRICS
from foundation.errors import UserError, plural
from reporting import run_facts
from reporting.detector_findings import MASKS, Findings, find
from reporting.learning_curves import Entries, draw_curves, read_entries
from reporting.page.embedded_pictures import gallery
from reporting.page.page_parts import Chart, Charts, Gallery, Note, Part, Section, Story, Table
from reporting.page.svg_charts import SERIES, Axis, Line, bar_mark, interval_mark, line_chart
from reporting.page.wording import figure, per_cent, share_with_interval
from reporting.paper_rows import detector_rows, paper_section
from reporting.picture_intervals import Resampled
from training.config import load_config

FEW = 10  # objects of a class
CONFUSED = 10  # pairs of classes in the list
HEADS = {"c4": "C4", "dc5": "DC5", "fpn": "FPN", "simple_fpn": "simple FPN"}


@dataclass(frozen=True)
class DetectorRun:
    """What a comparison of detectors needs of one.

    Attributes:
        config: of its training; None where it is not known.
        entries: what its training reported.
        intervals: of the main figure, and of that of masks, 0…1.
        resampled: None where the data set is not at hand.
    """

    name: str
    config: DetectionConfig | None
    entries: Entries
    metric: str
    scores: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]]
    resampled: Resampled | None


def is_training(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is a detector's training."""
    return sections is not None and "backbone" in sections


def is_evaluation(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is of tools/eval_det.py."""
    return sections is None and result is not None and "class_ap" in result


def tell_training(folder: Path, name: str, resamples: int) -> tuple[Story, DetectorRun]:
    """The story of a detector's training.

    Raises:
        UserError: a file is damaged, or the run was never evaluated.
    """
    config = load_config(DetectionConfig, folder / "config.yaml")
    entries, notes = read_entries(folder / "metrics.jsonl")
    result = {"metric": config.metric, **run_facts.result_so_far(folder, entries, notes)}
    found = find(folder, result, config, resamples)
    rows = [
        *_network(config),
        *run_facts.of_training(folder, config, result),
    ]
    sections = [
        run_facts.facts(rows),
        _figures(result, found, notes),
        Section("Curves", draw_curves(entries)),
        *paper_section(detector_rows(config, result["scores"])),
        *_detections(result, found),
        *run_facts.pictures_of(folder),
        run_facts.repeat("train_det", folder),
        *run_facts.appendix(folder, config),
    ]
    kind = f"training of a detector, {config.data.kind} {config.data.val}"
    return _told(name, kind, result, found, sections, config, entries)


def tell_evaluation(folder: Path, name: str, resamples: int) -> tuple[Story, DetectorRun]:
    """The story of a folder of tools/eval_det.py; the errors are those of `tell_training`."""
    result = run_facts.read_result(folder)
    assert result is not None  # else it were no such folder
    about = result.get("evaluated", {})
    config = run_facts.evaluated_config(DetectionConfig, folder, about)
    found = find(folder, result, config, resamples)
    names = {"weights": "Weights", "sha256": "SHA-256", "predictions": "Result file", "dataset": "Data"}
    rows = [(words, str(about[key])) for key, words in names.items() if key in about]
    rows += _network(config) if config is not None and "weights" in about else []
    rows += [("Metric", str(result["metric"]))] if config is None else []
    rows += [("Without", ", ".join(result["without"]))] if "without" in result else []
    rows += run_facts.when(folder)
    sections = [
        run_facts.facts(rows),
        _figures(result, found, []),
        *_detections(result, found),
        *_charts_of(folder),
        *run_facts.appendix(folder, config),
    ]
    kind = "evaluation of a detector"
    return _told(name, kind, result, found, sections, config if "weights" in about else None)


def _charts_of(folder: Path) -> list[Section]:
    """Charts that tools/eval_det.py --report drew, but the curve that the page draws itself."""
    files = [file for file in sorted(folder.glob("*.png")) if file.name != "precision_recall.png"]
    return [Section("Charts in the folder", gallery(files, wide=True, plot=True))] if files else []


def _told(
    name: str,
    kind: str,
    result: Mapping[str, Any],
    found: Findings,
    sections: Sequence[Section],
    config: DetectionConfig | None,
    entries: Entries = (),
) -> tuple[Story, DetectorRun]:
    main = METRICS[result["metric"]].main
    headline = f"{main} {share_with_interval(result['scores'].get(main), found.intervals.get(main))} %"
    story = Story(name, kind, headline, [section for section in sections if section.parts])
    metric, scores = result["metric"], result["scores"]
    return story, DetectorRun(name, config, entries, metric, scores, found.intervals, found.resampled)


def _network(config: DetectionConfig) -> list[tuple[str, str]]:
    family = "Mask R-CNN" if config.detector.mask else "Faster R-CNN"
    head = HEADS.get(config.detector.kind, config.detector.kind)
    data = config.data
    place = f" in {data.root}" if data.root else ""
    metric = "COCO's AP, IoU 0.5 to 0.95" if config.metric == "coco" else f"{config.metric}, mAP at IoU 0.5"
    return [
        ("Network", f"{family} {head} on {config.backbone.name}"),
        ("Started from", config.model.weights or config.backbone.weights or "random weights"),
        ("Data", f"{data.kind}{place}: trained on {data.train}, scored on {data.val}"),
        ("Metric", metric),
    ]


def _figures(result: Mapping[str, Any], found: Findings, notes: Sequence[Note]) -> Section:
    """All scores, those of the masks beside those of the boxes."""
    scores, main = result["scores"], METRICS[result["metric"]].main
    masks = any(name.startswith(MASKS) for name in scores)
    rows = []
    for name in [name for name in scores if not name.startswith(MASKS)]:
        of_masks = f"{MASKS}{name}"
        text, more = (
            share_with_interval(scores.get(key), found.intervals.get(key)) for key in (name, of_masks)
        )
        rows.append([name, text, *([more] if masks else [])])
    heading = ["figure", "boxes, %" if masks else "%", *(["masks, %"] if masks else [])]
    if found.intervals:
        of = f"The 95 % interval of {main} is over the choice of pictures (bootstrap), not other trainings."
    else:
        of = f"No interval of {main}: it needs predictions and data set, or tools/eval_det.py --bootstrap."
    return Section("Figures", [Table(heading, rows), Note(of), *notes, *found.notes])


def _detections(result: Mapping[str, Any], found: Findings) -> list[Section]:
    """Classes, precision and recall, kinds of errors, confusions, worst pictures."""
    sections = [_classes(result.get("class_ap", {}), found)]
    if found.curves:
        sections.append(Section("Precision and recall", [Charts([_curves(found.curves)])]))
    if found.errors is not None:
        sections += _errors(found.errors)
    worst: list[Part] = []
    for title, parts in found.worst:
        worst += [replace(part, title=title) if isinstance(part, Gallery) else part for part in parts]
    if worst:
        note = Note(
            "Left of each what was found, right the truth; IoU 0.5 decides. The names tell the rank, the "
            "class, and the score or the nearest overlap."
        )
        sections.append(Section("Worst pictures", [note, *worst]))
    return sections


def _classes(class_ap: Mapping[str, float | None], found: Findings) -> Section:
    """The AP of every class, the best first."""
    ranked = sorted(class_ap, key=lambda name: (class_ap[name] is None, -(class_ap[name] or 0.0)))
    rows = []
    for name in ranked:
        low, high, objects = found.classes.get(name, (None, None, 0))
        cells = [
            name,
            share_with_interval(class_ap[name], (low, high)),
            interval_mark(class_ap[name], low, high, (0, 1)),
        ]
        rows.append([*cells, f"{objects:,}"] if found.classes else cells)
    heading = ["class", "AP, %", "0 to 100", *(["objects"] if found.classes else [])]
    few = any(objects < FEW for _, _, objects in found.classes.values())
    text = f"With fewer than {FEW} objects an interval is too narrow: resamples hold only what was there."
    parts: list[Part] = [Table(heading, rows, tall=True), *([Note(text)] if few else [])]
    return Section("Classes", parts if rows else [])


def _curves(curves: Mapping[str, Mapping[str, Any]]) -> Chart:
    """Precision at 101 recalls of every class, and their mean; of many classes six are named."""
    recalls = np.linspace(0, 1, 101)
    sampled = {
        name: sampled_precision(_curve(curve), "101point")
        for name, curve in curves.items()
        if curve["recall"]
    }
    ranked = sorted(curves, key=lambda name: -curves[name]["AP"])
    named = ranked if len(ranked) < SERIES else [*ranked[:3], *ranked[-3:]]
    mean = sum(sampled.values(), np.zeros(101)) / len(curves)
    lines = [Line(recalls.tolist(), mean.tolist(), 0, bold=True)]
    legend = [(0, f"mean of {plural(len(curves), 'class', 'classes')}")]
    for name, values in sampled.items():
        number = named.index(name) + 1 if name in named else None
        lines.append(Line(recalls.tolist(), values.tolist(), number))
    legend += [(number, name) for number, name in enumerate(named, start=1)]
    svg = line_chart(lines, Axis("recall", 0, 1), Axis("precision", 0, 1), title="Precision against recall")
    note = "" if len(named) == len(ranked) else "Named are the three best and the three worst classes."
    return Chart("Precision against recall at IoU 0.5", svg, legend, note)


def _curve(kept: Mapping[str, Any]) -> Curve:
    try:
        return Curve(*(np.array(kept[name], dtype=np.float64) for name in ("recall", "precision", "scores")))
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"curves.json is damaged ({error}); make it anew with tools/eval_det.py --report"
        ) from error


def _errors(found: Mapping[str, Any]) -> list[Section]:
    """TIDE's kinds of errors, the costliest first, and the commonest confusions."""
    kinds = sorted(found["errors"].items(), key=lambda item: -item[1]["AP lost"])
    highest = max((kind["AP lost"] for _, kind in kinds), default=0.0)
    rows = [
        [
            name,
            f"{kind['count']:,}",
            per_cent(kind["AP lost"]),
            bar_mark(kind["AP lost"], highest),
            ERRORS.get(name, name),
        ]
        for name, kind in kinds
    ]
    base = f" of its {per_cent(found['AP50'])}" if found.get("AP50") is not None else ""
    lost = f"How many points AP50{base} would rise by without this kind of error (TIDE, Bolya et al. 2020)."
    heading = ["kind", "number", "points of AP50", "", "what it is"]
    sections = [Section("Kinds of errors", [Table(heading, rows, text=(0, 4)), Note(lost)])]
    names, matrix = found["classes"], np.array(found["confusion"])[:-1, :-1]
    wrong = matrix * (1 - np.eye(len(names), dtype=matrix.dtype))
    common = [divmod(int(i), len(names)) for i in np.argsort(-wrong, axis=None, kind="stable")[:CONFUSED]]
    pairs = [[names[t], names[p], figure(float(wrong[t, p]), 0)] for t, p in common if wrong[t, p]]
    if pairs:
        note = Note(f"Detections from a score of {found['least_score']:g}.")
        sections.append(
            Section("Most frequent confusions", [Table(["truth", "taken for", "times"], pairs, (0, 1)), note])
        )
    return sections
