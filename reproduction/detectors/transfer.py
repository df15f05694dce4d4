"""Is a pretrained backbone worth it? The same detector from weights and from scratch, over several seeds.

The paper's section 4.3 in small. From scratch every stage and the batch normalisation have to learn, because
fixed random statistics would be unfair; a configuration that starts from weights usually fixes them. So there
is a third start, from weights with nothing fixed. It differs from scratch in the weights alone, and from the
first in what is fixed alone.
"""

import logging
import signal
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import active_children, get_context
from pathlib import Path
from threading import current_thread
from typing import Any, Literal, NamedTuple

import torch

from detection.config import DetectionConfig
from detection.train import finetune
from foundation.atomic_files import write_json
from foundation.errors import UserError
from pictures.plots import new_axes, save_plot
from pictures.run_pictures.run_curves import read_metrics
from reproduction.tables import markdown_table, spread
from training.command import set_up_logging
from training.devices import is_main, world_size

logger = logging.getLogger(__name__)
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
    return replace(config, backbone=backbone, run=replace(config.run, seed=seed))


class Training(NamedTuple):
    """One fine-tuning of a comparison: what it is called, and the arguments of `finetune`."""

    name: str
    config: DetectionConfig
    folder: Path
    resume: bool
    overwrite: bool


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
        processes: so many trainings at once, each with its share of the CPU's cores. Sums are rounded in
            another order with another number of cores, so figures differ a little.
    Raises:
        UserError: fewer than one seed or process, or whatever `finetune` refuses.
    """
    for option, value in (("--seeds", seeds), ("--processes", processes)):
        if value < 1:
            raise UserError(f"{option} must be 1 or more, got {value}")
    if processes > 1 and world_size() > 1:
        raise UserError(f"--processes {processes} has no effect under torchrun; leave it out")
    starts = starts_of(config)
    trainings = []
    for seed in range(seeds):
        for start in starts:
            folder = out / f"{start}_seed{seed}"
            begun = (folder / "config.yaml").is_file()  # of a comparison that was cut off, some runs are not
            changed = variant(config, start, weights, seed)
            trainings.append(Training(f"{start}, seed {seed}", changed, folder, resume and begun, overwrite))
    done = [*map(_train, trainings)] if processes == 1 else _train_at_once(trainings, processes)
    results = {start: done[place :: len(starts)] for place, start in enumerate(starts)}
    if is_main():
        write_json(out / "comparison.json", results, indent=1)
        draw_curves(out, starts, seeds)
    return Comparison(results)


def _train(training: Training) -> dict[str, Any]:
    logger.info("%s", training.name)
    resume, overwrite = training.resume, training.overwrite
    return finetune(training.config, training.folder, resume=resume, overwrite=overwrite)


def _train_at_once(trainings: Sequence[Training], processes: int) -> list[dict[str, Any]]:
    """The results of trainings that each run in one of so many processes; if one fails all end."""
    cores = max(1, torch.get_num_threads() // processes)
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin, initargs=(cores,))
    try:
        return list(pool.map(_train_beside_others, trainings))
    except BaseException:
        for process in active_children():
            process.terminate()  # it saves the step at hand
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(cores: int) -> None:
    """Prepares a process for trainings: Ctrl-C and SIGTERM end it quietly where none is under way."""
    torch.set_num_threads(cores)
    set_up_logging()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(128 + signal.SIGTERM))


def _train_beside_others(training: Training) -> dict[str, Any]:
    current_thread().name = training.name  # its lines in the log say so, and it draws no bar
    return _train(training)


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
