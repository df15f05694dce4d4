"""What can be asked of predictions beside their score: intervals, explanations, pictures, submissions."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detection.charts.confidence_charts import confidence_table, draw_confidence
from detection.charts.confusion_chart import draw_confusion, write_confusion
from detection.charts.operating_points import (
    choose_operating_point,
    describe_operating_point,
    parse_goal,
)
from detection.charts.precision_recall_chart import draw_precision_recall
from detection.data.annotations import DetectionDataset
from detection.data.detection_batches import check_pictures
from detection.metrics.bootstrap import bootstrap
from detection.metrics.conventions import (
    COCO50,
    VOC12,
    ClassMatches,
    Conventions,
    class_matches,
    explain,
    mean_of,
)
from detection.metrics.record_checks import Record
from detection.results import error_analysis
from detection.results.comparison import Comparison
from detection.results.metrics_by_name import METRICS, describe, per_cent
from detection.results.submission import write_submission
from detection.results.worst_cases import draw_worst
from detection.types import Prediction
from foundation.atomic_files import write_json
from foundation.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportOptions:
    """What is asked for beside the score.

    Attributes:
        explain: why the figures of VOC2007, VOC2012 and COCO differ.
        bootstrap: so many resamples for the interval of the figure; None for no interval.
        report: curves, kinds of errors, confusions, and the worst pictures.
        worst: so many pictures of each kind in the report.
        pictures: their folder, where COCO's annotation file does not lie beside it.
        operating_point: what the threshold of each class is chosen for, as `parse_goal` takes it.
        submission: where to write the files for the evaluation server.
    """

    explain: bool = False
    bootstrap: int | None = None
    report: bool = False
    worst: int = 20
    pictures: Path | None = None
    operating_point: str | None = None
    submission: Path | None = None

    @property
    def anything(self) -> bool:
        """Whether anything is asked for."""
        return self.needs_truth or self.submission is not None

    @property
    def needs_truth(self) -> bool:
        """Whether anything asked for compares with the truth."""
        asked = (self.bootstrap, self.operating_point)
        return self.explain or self.report or any(option is not None for option in asked)

    def check(self, out: Path | None) -> None:
        """Refuses before the work what cannot be done.

        Raises:
            UserError: a report without a folder, or an impossible number.
        """
        if self.report and out is None:
            raise UserError("--report writes files: say where with --out DIR")
        if self.operating_point is not None:
            parse_goal(self.operating_point)
            if out is None:
                raise UserError("--operating-point writes operating_point.json: say where with --out DIR")
        if self.worst < 0:
            raise UserError(f"--worst must be 0 or more pictures, got {self.worst}")
        if self.bootstrap is not None and self.bootstrap < 1:
            raise UserError(f"--bootstrap must be 1 or more resamples, got {self.bootstrap}")

    def check_without_truth(self, split: str, out: Path | None) -> None:
        """Refuses what a split without annotations cannot give.

        Raises:
            UserError: something compares with the truth, or nothing would be written.
        """
        if self.needs_truth:
            raise UserError(
                f"{split} has no annotations to compare with: leave out --explain, --bootstrap, --report "
                "and --operating-point, or choose an annotated split"
            )
        if self.submission is None and out is None:
            raise UserError(
                f"{split} has no annotations, so nothing can be scored: name --submission PLACE or --out DIR "
                "for the predictions"
            )


NOTHING = ReportOptions()


@dataclass(frozen=True)
class EvaluatedSplit:
    """What predictions are of: a data set, its `data.kind`, its split as in `data.val`, and its metric."""

    dataset: DetectionDataset
    kind: str
    name: str
    metric: str


def write_reports(
    options: ReportOptions,
    predictions: Sequence[Prediction],
    records: Sequence[Record],
    split: EvaluatedSplit,
    out: Path | None,
) -> dict[str, Any]:
    """Computes and writes what the options ask for, from the boxes and by the matching of the figure itself.

    Args:
        predictions: one per picture of the data set, in its order.
        records: the same as result records, checked.
        out: folder for the report: curves.json, confidence.json, confusion.csv, their pictures, false_alarms/
            and misses/.
    Returns:
        For result.json: "interval", "conventions", "operating_point" and "errors", each where asked for.
    Raises:
        UserError: pictures are missing, the submission cannot be written, the metric has no interval, or
            nothing is found of which an operating point could be chosen.
    """
    result: dict[str, Any] = {}
    dataset, conventions = split.dataset, METRICS[split.metric].conventions
    if options.submission is not None:
        files = write_submission(predictions, dataset, split.kind, split.name, options.submission)
        logger.info("for the evaluation server: %s%s", files[0], " …" if len(files) > 1 else "")
    if options.bootstrap is not None and conventions is None:
        raise UserError(f"--bootstrap knows no interval of the metric {split.metric}; leave it out")
    if not options.needs_truth:
        return result
    how, compared = conventions or VOC12, Comparison(dataset, predictions, records)
    matched = compared.matched(how)
    if options.bootstrap is not None:
        matches = class_matches(matched)
        interval = bootstrap(matches, len(dataset), how, resamples=options.bootstrap)
        result["interval"] = asdict(interval)
    if options.explain:
        result["conventions"] = explain(predictions, dataset.targets, len(dataset.classes), compared.coco)
    if options.operating_point is not None and out is not None:
        goal = parse_goal(options.operating_point)
        classes = dataset.classes
        point = choose_operating_point(class_matches(matched), classes, goal, how.thresholds[0])
        write_json(out / "operating_point.json", point, indent=1)
        result["operating_point"] = point
    if options.report and out is not None:
        if options.worst:
            check_pictures(dataset)
        table = error_analysis.curve_table(class_matches(matched), how, dataset.classes)
        (out / "result.json").unlink(missing_ok=True)  # written last, it is always of what lies beside it
        write_json(out / "curves.json", table)
        errors = error_analysis.find_errors(compared.annotations, records)
        _draw_charts(class_matches(matched), how, dataset.classes, errors, out)
        draw_worst(predictions, dataset, matched, out, options.worst)
        base = mean_of(class_matches(compared.coco), COCO50)
        result["errors"] = {**errors, "AP50": None if math.isnan(base) else base}
    return result


def _draw_charts(
    matches: Sequence[ClassMatches],
    how: Conventions,
    classes: Sequence[str],
    errors: dict[str, Any],
    out: Path,
) -> None:
    """The report's charts, with the numbers of those that are not in curves.json."""
    draw_precision_recall(matches, how, classes, out / "precision_recall")
    confidence = confidence_table(matches, classes)
    write_json(out / "confidence.json", confidence)
    draw_confidence(confidence, out / "confidence")
    write_confusion(errors, out / "confusion.csv")
    draw_confusion(errors, out / "confusion")


def describe_all(result: dict[str, Any]) -> str:
    """The lesion, how pictures were looked at, the score and what `write_reports` found, for people."""
    texts = [f"without {', '.join(result['without'])}"] if "without" in result else []
    texts += [", ".join(f"{k} {v}" for k, v in result["improve"].items())] if "improve" in result else []
    texts += [describe(result)] if "scores" in result else []
    reports: dict[str, Callable[[Any], str]] = {
        "interval": describe_interval,
        "conventions": describe_conventions,
        "errors": error_analysis.describe_errors,
        "operating_point": describe_operating_point,
    }
    return "\n".join([*texts, *(text(result[name]) for name, text in reports.items() if name in result)])


def describe_interval(interval: dict[str, Any]) -> str:
    """One line for people, in per cent."""
    return (
        f"{100 * interval['level']:g} % interval over {interval['resamples']} resamples of the pictures "
        f"(seed {interval['seed']}): {per_cent(interval['low'])} to {per_cent(interval['high'])}"
    )


def describe_conventions(rows: Sequence[dict]) -> str:
    """The rows of `explain` for people, in per cent."""
    lines = ["Why the figures differ: mAP in %, and the difference to VOC2012's."]
    for row in rows:
        change = "" if row["change"] is None else f"{100 * row['change']:>+9.2f}"
        lines.append(f"  {row['what']:<70}{per_cent(row['mAP']):>8}{change}")
    lines.insert(5, "VOC2012's way with one thing changed:")
    return "\n".join(lines)
