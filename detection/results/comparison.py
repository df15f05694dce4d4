"""Predictions beside the truth, matched once for everything that is printed beside their figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from detection.data.annotations import DetectionDataset, void_pairs
from detection.metrics.coco_matches import match_records
from detection.metrics.conventions import Conventions, match_pictures
from detection.metrics.matching import Matched
from detection.metrics.record_checks import Record, check_records
from detection.results.metrics_by_name import coco_annotations
from detection.types import Prediction


@dataclass(frozen=True)
class Comparison:
    """What was found in the pictures of a data set, and what is there.

    Attributes:
        predictions: one per picture, in the order of the data set.
        records: the same as result records, which COCO's figures are computed from.
    """

    dataset: DetectionDataset
    predictions: Sequence[Prediction]
    records: Sequence[Record]

    @cached_property
    def annotations(self) -> dict[str, Any]:
        """The truth in COCO's layout, with the boxes as the files state them."""
        return coco_annotations(self.dataset)

    @cached_property
    def coco(self) -> Matched:
        """Matched as COCO's AP counts."""
        ids = self.dataset.image_ids, self.dataset.category_ids
        return match_records(self.annotations, check_records(self.records, *ids, "predictions"))

    def matched(self, how: Conventions) -> Matched:
        """Matched as the figure with these conventions counts."""
        if how.rule == "coco":
            return self.coco
        targets, num_classes = self.dataset.targets, len(self.dataset.classes)
        return match_pictures(
            self.predictions, targets, num_classes, how, void_pairs=void_pairs(self.dataset)
        )
