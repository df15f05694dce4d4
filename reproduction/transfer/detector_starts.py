"""How a detector can start, and what trained detectors are compared by."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from detection.config import DetectionConfig, ModelConfig
from detection.own_sets.split_opener import SplitOpener
from reproduction.detectors.detector_groups import Scored, has_mask_figures, read_group
from reproduction.results.paired_groups import Group


class DetectorStarts:
    """Of `tools/train_det.py`; see `start_comparison.Starts`."""

    schema = DetectionConfig

    def __init__(self) -> None:
        self._opened = SplitOpener()  # all detectors of a comparison are scored on one set

    def variant(self, config: DetectionConfig, start: str, weights: str) -> DetectionConfig:
        """`config` for one start; the starts differ in the backbone section alone.

        A detector that the configuration starts from is left out: it would be every start's.
        """
        backbone = replace(config.backbone, weights=None if start == "scratch" else weights)
        if start != "pretrained":
            norm: Literal["batch", "sync"] = "batch" if backbone.norm == "frozen" else backbone.norm
            backbone = replace(backbone, norm=norm, frozen_stages=0)
        return replace(config, backbone=backbone, model=ModelConfig())

    def read(
        self, config: DetectionConfig, folders: Sequence[Path], results: Sequence[Mapping[str, Any]]
    ) -> Group:
        """Box AP, and mask AP where there are masks; errors as of `read_group`."""
        scored = [
            Scored(folder, config, result["scores"]) for folder, result in zip(folders, results, strict=True)
        ]
        return read_group(scored, self._opened, masks=has_mask_figures(scored[0].scores))
