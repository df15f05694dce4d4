"""What can be wanted of predictions beside their score, and where it is written."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from detection.config import Metric
from detection.data.annotations import DetectionDataset
from detection.data.detection_batches import check_pictures
from detection.metrics import voc_ap
from detection.metrics.bootstrap import bootstrap, describe_interval
from detection.metrics.conventions import PROTOCOLS, describe_conventions, explain
from detection.results.detection_score import coco_annotations, describe
from detection.results.error_analysis import (
    curve_table,
    describe_errors,
    find_errors,
    plot_curves,
    write_confusion,
)
from detection.results.result_records import to_coco_records, write_json
from detection.results.submission import write_submission
from detection.results.worst_cases import draw_worst
from detection.types import Prediction
from foundation.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wishes:
    """What is wanted beside the score.

    Attributes:
        explain: why the figures of VOC2007, VOC2012 and COCO differ.
        bootstrap: so many resamples for the interval of the figure; None for no interval.
        report: curves, kinds of errors, confusions, and the worst pictures.
        worst: so many pictures of each kind in the report.
        pictures: their folder, where COCO's annotation file does not lie beside it.
        submission: where to write the files for the evaluation server.
    """

    explain: bool = False
    bootstrap: int | None = None
    report: bool = False
    worst: int = 20
    pictures: Path | None = None
    submission: Path | None = None

    @property
    def any(self) -> bool:
        """Whether anything is wanted."""
        return self.needs_truth or self.submission is not None

    @property
    def needs_truth(self) -> bool:
        """Whether anything is wanted that compares with the truth."""
        return self.explain or self.bootstrap is not None or self.report

    def check(self, out: Path | None) -> None:
        """Refuses before the work what cannot be done.

        Raises:
            UserError: a report without a folder, or an impossible number.
        """
        if self.report and out is None:
            raise UserError("--report writes files: say where with --out DIR")
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
                f"{split} has no annotations to compare with: leave out --explain, --bootstrap and --report, "
                "or choose an annotated split"
            )
        if self.submission is None and out is None:
            raise UserError(
                f"{split} has no annotations, so nothing can be scored: name --submission PLACE or --out DIR "
                "for the predictions"
            )


NOTHING = Wishes()


@dataclass(frozen=True)
class Place:
    """Where predictions belong: a data set, its layout, its split as in `data.val`, and its metric."""

    dataset: DetectionDataset
    kind: Literal["voc", "coco"]
    split: str
    metric: Metric


def fulfil(
    wishes: Wishes, predictions: Sequence[Prediction], place: Place, out: Path | None
) -> dict[str, Any]:
    """Does what is wanted.

    Args:
        predictions: one per picture of the data set, in its order.
        out: folder for the report: curves.json, curves.png, confusion.csv, false_alarms/ and misses/.
    Returns:
        For result.json: "interval", "conventions" and "errors", each where wanted.
    Raises:
        UserError: pictures are missing, or the submission cannot be written there.
    """
    result: dict[str, Any] = {}
    dataset, classes = place.dataset, len(place.dataset.classes)
    if wishes.submission is not None:
        files = write_submission(predictions, dataset, place.kind, place.split, wishes.submission)
        logger.info("for the evaluation server: %s%s", files[0], " …" if len(files) > 1 else "")
    if wishes.bootstrap is not None:
        how = PROTOCOLS[place.metric]
        interval = bootstrap(predictions, dataset.targets, classes, how, resamples=wishes.bootstrap)
        result["interval"] = asdict(interval)
    if wishes.explain:
        result["conventions"] = explain(predictions, dataset.targets, classes)
    if wishes.report and out is not None:
        result["errors"] = _write_report(predictions, place, out, wishes.worst)
    return result


def _write_report(predictions: Sequence[Prediction], place: Place, out: Path, worst: int) -> dict[str, Any]:
    """All files of the report; the errors."""
    dataset = place.dataset
    if worst:
        check_pictures(dataset)
    out.mkdir(parents=True, exist_ok=True)
    method: Literal["11point", "area"] = "11point" if place.metric == "voc07" else "area"
    scores = voc_ap.evaluate(predictions, dataset.targets, len(dataset.classes), method=method)
    table = curve_table(scores, dataset.classes)
    write_json(out / "curves.json", table)
    plot_curves(table, dict(zip(dataset.classes, scores.ap.tolist(), strict=True)), out / "curves.png")
    errors = find_errors(coco_annotations(dataset), to_coco_records(predictions, dataset))
    write_confusion(errors, out / "confusion.csv")
    draw_worst(predictions, dataset, out, worst)
    return errors


def describe_all(result: dict[str, Any]) -> str:
    """The lesion, the score and what `fulfil` found, for people."""
    texts = [f"without {', '.join(result['without'])}"] if "without" in result else []
    texts += [describe(result)] if "scores" in result else []
    for name, text in (
        ("interval", describe_interval),
        ("conventions", describe_conventions),
        ("errors", describe_errors),
    ):
        if name in result:
            texts.append(text(result[name]))
    return "\n".join(texts)
