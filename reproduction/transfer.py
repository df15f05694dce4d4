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
from detection.results.result_records import write_json
from detection.train import finetune
from foundation.errors import UserError
from training.devices import is_main

logger = logging.getLogger(__name__)
STARTS = ("pretrained", "scratch")
COLUMNS = ("AP", "AP50", "AP75", "mAP")


@dataclass(frozen=True)
class Comparison:
    """What all runs ended with: `results[start][seed]` is the result of one, as `finetune` returned it."""

    results: dict[str, list[dict[str, Any]]]

    def scores(self, start: str, name: str) -> list[float]:
        """The score `name` of every seed, 0…1."""
        return [result["scores"][name] for result in self.results[start]]

    def gain(self, name: str) -> float:
        """What pretraining adds to the mean of a score, per cent."""
        pretrained, scratch = (statistics.mean(self.scores(start, name)) for start in STARTS)
        return 100 * (pretrained - scratch)

    def table(self) -> str:
        """Markdown, per cent: mean ± deviation over the seeds of each start; the difference of the means."""
        results = self.results[STARTS[0]]
        names = [name for name in COLUMNS if name in results[0]["scores"]]
        heading = f"{results[0]['metric']}, %, {results[0]['step']} steps, seeds: {len(results)}"
        rows = [
            [heading, *names],
            ["---"] * (len(names) + 1),
            *([start, *(spread(self.scores(start, name)) for name in names)] for start in STARTS),
            ["difference", *(f"{self.gain(name):+.1f}" for name in names)],
        ]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def spread(values: Sequence[float]) -> str:
    """Mean ± sample deviation of fractions, in per cent; one value has no deviation."""
    mean = f"{100 * statistics.mean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


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

    Writes comparison.json and curves.png beside them.

    Raises:
        UserError: fewer than one seed, or whatever `finetune` refuses.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be 1 or more, got {seeds}")
    results: dict[str, list[dict[str, Any]]] = {start: [] for start in STARTS}
    for seed in range(seeds):
        for start in STARTS:
            folder = out / f"{start}_seed{seed}"
            logger.info("%s, seed %d", start, seed)
            begun = (folder / "config.yaml").is_file()  # of a comparison that was cut off, some runs are not
            result = finetune(
                variant(config, start, weights, seed), folder, resume=resume and begun, overwrite=overwrite
            )
            results[start].append(result)
    if is_main():
        write_json(out / "comparison.json", results, indent=1)
        draw_curves(out, seeds)
    return Comparison(results)


def draw_curves(out: Path, seeds: int) -> None:
    """curves.png: the sum of the training losses and the main score against steps, a line per run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for start, colour in zip(STARTS, ("tab:blue", "tab:orange"), strict=True):
        for seed in range(seeds):
            losses, scores = read_curves(out / f"{start}_seed{seed}" / "metrics.jsonl")
            label = start if seed == 0 else None
            axes[0].plot(*zip(*losses, strict=True), color=colour, alpha=0.7, label=label)
            axes[1].plot(*zip(*scores, strict=True), "o-", color=colour, alpha=0.7, label=label)
    axes[0].set(xlabel="step", ylabel="training loss")
    axes[1].set(xlabel="step", ylabel="AP (COCO) or mAP (VOC)", ylim=(0, None))
    axes[1].legend()
    figure.savefig(out / "curves.png", dpi=120)
    pyplot.close(figure)


def read_curves(metrics: Path) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """(step, sum of losses) and (step, main score) of a run's metrics.jsonl."""
    losses, scores = [], []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        terms = [value for name, value in entry.items() if name.startswith("loss")]
        if terms:
            losses.append((entry["step"], sum(terms)))
        score = entry.get("val/AP", entry.get("val/mAP"))
        if score is not None:
            scores.append((entry["step"], score))
    return losses, scores
