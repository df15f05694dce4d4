"""Is a pretrained backbone worth it? The same detector from weights and from scratch, over several seeds.

The paper's section 4.3 in small. From scratch every stage and the batch normalisation have to learn, because
fixed random statistics would be unfair; a configuration that starts from weights usually fixes them. So there
is a third start, from weights with nothing fixed. It differs from scratch in the weights alone, and from the
first in what is fixed alone.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from detection.config import DetectionConfig
from foundation.atomic_files import write_json
from pictures.plots import new_axes, save_plot
from pictures.run_pictures.run_curves import read_metrics
from reproduction.trainings import train_variants, with_seed
from reproduction.tables import markdown_table, spread
from training.devices import is_main

# What each is called in folders and tables; the second only where the configuration fixes anything.
STARTS = ("pretrained", "pretrained_unfrozen", "scratch")
COLUMNS = ("AP", "AP50", "AP75", "mAP")


@dataclass(frozen=True)
class Comparison:
    """What all runs ended with: `results[start][seed]` is the result of one, as `finetune` returned it."""

    results: dict[str, list[dict[str, Any]]]

    def scores(self, start: str, name: str) -> list[float]:
        """The score `name` of every seed, per cent."""
        return [100 * result["scores"][name] for result in self.results[start]]

    def difference(self, start: str, other: str, name: str) -> float:
        """How much higher the mean of a score is from one start than from another, percentage points."""
        one, two = (statistics.mean(self.scores(each, name)) for each in (start, other))
        return one - two

    def table(self) -> str:
        """Markdown, per cent: mean ± deviation over the seeds of each start, and differences of means."""
        results = self.results["pretrained"]
        names = [name for name in COLUMNS if name in results[0]["scores"]]
        heading = f"{results[0]['metric']}, %, {results[0]['step']} steps, seeds: {len(results)}"
        rows = [
            [start, *(spread(scores, digits=1) for scores in (self.scores(start, name) for name in names))]
            for start in self.results
        ]
        *_, free, scratch = self.results
        differences = {"what the weights add": (free, scratch), "what freezing adds": ("pretrained", free)}
        rows += [
            [what, *(f"{self.difference(*starts, name):+.1f}" for name in names)]
            for what, starts in differences.items()
            if len(set(starts)) == 2
        ]
        return markdown_table([heading, *names], rows)


def starts_of(config: DetectionConfig) -> list[str]:
    """The `STARTS` that differ for this configuration."""
    same = variant(config, "pretrained", "", 0) == variant(config, "pretrained_unfrozen", "", 0)
    return [start for start in STARTS if not (same and start == "pretrained_unfrozen")]


def variant(config: DetectionConfig, start: str, weights: str, seed: int) -> DetectionConfig:
    """`config` for one start and seed; the starts differ in the backbone section alone."""
    backbone = replace(config.backbone, weights=None if start == "scratch" else weights)
    if start != "pretrained":
        norm: Literal["batch", "sync"] = "batch" if backbone.norm == "frozen" else backbone.norm
        backbone = replace(backbone, norm=norm, frozen_stages=0)
    return with_seed(replace(config, backbone=backbone), seed)


def compare(
    config: DetectionConfig,
    weights: str,
    seeds: int,
    out: Path,
    *,
    resume: bool,
    overwrite: bool,
    processes: int = 1,
) -> Comparison:
    """Fine-tunes from every start with seeds 0 … seeds - 1, one run folder each below `out`.

    Writes comparison.json and curves.png beside them.

    Args:
        processes: so many trainings at once, see `train_variants`.
    Raises:
        UserError: as `train_variants`.
    """
    starts = starts_of(config)
    results = train_variants(
        starts,
        lambda start, seed: variant(config, start, weights, seed),
        lambda start, seed: out / f"{start}_seed{seed}",
        seeds=seeds,
        resume=resume,
        overwrite=overwrite,
        processes=processes,
    )
    if is_main():
        write_json(out / "comparison.json", results, indent=1)
        draw_curves(out, starts, seeds)
    return Comparison(results)


def draw_curves(out: Path, starts: Sequence[str], seeds: int) -> None:
    """curves.png: the sum of the training losses and the main score against steps, a line per run."""
    figure, ((left, right),) = new_axes(1, 2, size=(4.5, 3.5))
    for start in starts:
        colour = f"C{STARTS.index(start)}"
        for seed in range(seeds):
            losses, scores = read_losses_and_scores(out / f"{start}_seed{seed}" / "metrics.jsonl")
            label = start if seed == 0 else None
            left.plot(*zip(*losses, strict=True), color=colour, alpha=0.7, label=label)
            right.plot(*zip(*scores, strict=True), "o-", color=colour, alpha=0.7, label=label)
    left.set(xlabel="step", ylabel="training loss")
    right.set(xlabel="step", ylabel="AP (COCO) or mAP (VOC)", ylim=(0, None))
    right.legend()
    save_plot(figure, out / "curves", ["png"])


def read_losses_and_scores(file: Path) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """(step, sum of losses) and (step, main score) of a run's metrics.jsonl."""
    losses, scores = [], []
    for entry in read_metrics(file):
        terms = [value for name, value in entry.items() if name.startswith("loss")]
        if terms:
            losses.append((entry["step"], sum(terms)))
        score = entry.get("val/AP", entry.get("val/mAP"))
        if score is not None:
            scores.append((entry["step"], score))
    return losses, scores
