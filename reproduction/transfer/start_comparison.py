"""Is a pretrained backbone worth it? The same network from weights and from scratch, over several seeds.

The paper's section 4.3 in small. From scratch every stage and the batch normalisation have to learn, because
fixed random statistics would be unfair; a configuration that starts from weights may fix them. So there is a
third start, from weights with nothing fixed. It differs from scratch in the weights alone, and from the first
in what is fixed alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from foundation.errors import UserError
from pictures.plots import new_axes, save_plot
from pictures.run_pictures.run_curves import read_metrics
from reproduction.results.experiments import Experiment
from reproduction.results.paired_groups import Group, paired_experiment, write_experiment
from reproduction.results.provenance import made_here
from reproduction.trainings import train_variants, with_seed
from reproduction.transfer.detector_starts import DetectorStarts
from reproduction.transfer.segmenter_starts import SegmenterStarts
from training.config import load_config
from training.devices import is_main

# What each is called in folders and tables; the second only where the configuration fixes anything.
STARTS = ("pretrained", "pretrained_unfrozen", "scratch")
# What the weights add, with what is fixed and alone, and what learning everything adds.
PAIRS = (
    ("pretrained", "scratch"),
    ("pretrained_unfrozen", "scratch"),
    ("pretrained_unfrozen", "pretrained"),
)
MAIN_SCORES = ("val/AP", "val/mAP", "val/mIoU")


class Starts(Protocol):
    """How the trainings of one task start, and what they end with."""

    @property
    def schema(self) -> type[Any]:
        """Of the task's configurations."""

    def variant(self, config: Any, start: str, weights: str) -> Any:
        """The configuration for one of `STARTS`, with the weights of those that are pretrained."""

    def read(self, config: Any, folders: Sequence[Path], results: Sequence[Mapping[str, Any]]) -> Group:
        """The figures of trainings that differ in the seed alone, from their run folders and result.json."""


def load_for_task(file: Path, overrides: Sequence[str]) -> tuple[Starts, Any]:
    """A configuration, and the task whose it is: detection or segmentation.

    Raises:
        UserError: it is of neither; what is wrong with it for the task that takes most of its keys.
    """
    refusals = []
    tasks: tuple[Starts, ...] = (DetectorStarts(), SegmenterStarts())
    for starts in tasks:
        try:
            return starts, load_config(starts.schema, file, overrides)
        except UserError as refused:
            refusals.append(refused)
    raise min(refusals, key=lambda refused: len(str(refused).splitlines()))


def names_of_starts(starts: Starts, config: Any) -> list[str]:
    """The `STARTS` that differ for this configuration."""
    same = starts.variant(config, "pretrained", "") == starts.variant(config, "pretrained_unfrozen", "")
    return [start for start in STARTS if not (same and start == "pretrained_unfrozen")]


def compare(
    starts: Starts,
    config: Any,
    weights: str,
    seeds: int,
    out: Path,
    *,
    resume: bool,
    overwrite: bool,
    processes: int = 1,
) -> Experiment | None:
    """Fine-tunes from every start with seeds 0 … seeds - 1, one run folder each below `out`.

    Writes transfer.json, transfer.md and curves.png beside them.

    Args:
        starts: of the task, see `load_for_task`.
        processes: so many trainings at once, see `train_variants`.
    Returns:
        The figures of every start and their paired differences; None in processes other than the main one.
    Raises:
        UserError: as `train_variants` and `Starts.read`.
    """
    names = names_of_starts(starts, config)

    def folder(start: str, seed: int) -> Path:
        return out / f"{start}_seed{seed}"

    results = train_variants(
        names,
        lambda start, seed: with_seed(starts.variant(config, start, weights), seed),
        folder,
        seeds=seeds,
        resume=resume,
        overwrite=overwrite,
        processes=processes,
    )
    if not is_main():
        return None
    draw_curves(out, names, seeds)
    groups = {
        start: starts.read(config, [folder(start, seed) for seed in range(seeds)], results[start])
        for start in names
    }
    first = results[names[0]][0]
    found = paired_experiment(
        "start",
        groups,
        [pair for pair in PAIRS if set(pair) <= set(names)],
        metric=first["metric"],
        steps=first["step"],
        made=made_here(),
    )
    write_experiment(found, out, "transfer")
    return found


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
    right.set(xlabel="step", ylabel="AP, mAP or mIoU", ylim=(0, None))
    right.legend()
    save_plot(figure, out / "curves", ["png"])


def read_losses_and_scores(file: Path) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """(step, sum of losses) and (step, main score) of a run's metrics.jsonl."""
    losses, scores = [], []
    for entry in read_metrics(file):
        terms = [value for name, value in entry.items() if name.startswith("loss")]
        if terms:
            losses.append((entry["step"], sum(terms)))
        score = next((entry[name] for name in MAIN_SCORES if name in entry), None)
        if score is not None:
            scores.append((entry["step"], score))
    return losses, scores
