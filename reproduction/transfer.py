"""Is a pretrained backbone worth it? The same detector from weights and from scratch, over several seeds.

The paper's section 4.3 in small: everything but the starting point is equal, so the gain is the features'.
The run from scratch trains its batch normalisation and every stage (fixed random statistics would be unfair).
"""

import json
import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detection.config import DetectionConfig
from detection.finetune import finetune
from engine.config import load_config  # noqa: F401
from engine.errors import UserError

logger = logging.getLogger(__name__)
STARTS = ("pretrained", "scratch")


@dataclass(frozen=True)
class Comparison:
    """Results of all runs: `results[start][seed]` is the result of one, as `finetune` returned it."""

    results: dict[str, list[dict[str, Any]]]

    def scores(self, start: str, name: str) -> list[float]:
        """The score `name` of every seed."""
        return [result["scores"][name] for result in self.results[start]]


def variant(config: DetectionConfig, start: str, weights: str, seed: int) -> DetectionConfig:
    """`config` for one start and seed; the two starts differ in the backbone section alone."""
    backbone = (
        replace(config.backbone, weights=weights)
        if start == "pretrained"
        else replace(config.backbone, weights=None, norm="batch", frozen_stages=0)
    )
    return replace(config, backbone=backbone, run=replace(config.run, seed=seed))


def compare(
    config: DetectionConfig, weights: str, seeds: int, out: Path, *, resume: bool, overwrite: bool
) -> Comparison:
    """Fine-tunes from `weights` and from scratch with seeds 0 … seeds - 1, one run folder each below `out`.

    Raises:
        UserError: fewer than one seed, or whatever `finetune` refuses.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be 1 or more, got {seeds}")
    results: dict[str, list[dict[str, Any]]] = {start: [] for start in STARTS}
    for seed in range(seeds):
        for start in STARTS:
            logger.info("%s, seed %d", start, seed)
            results[start].append(
                finetune(
                    variant(config, start, weights, seed),
                    out / f"{start}_seed{seed}",
                    resume=resume,
                    overwrite=overwrite,
                )
            )
    return Comparison(results)
