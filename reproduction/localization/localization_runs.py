"""What the rows of Tables 13 and 14 need: trainings of both networks, and searches that share their boxes."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from backbones.weights.downloads import digest
from detection.localization.class_guesses import SavedScores
from detection.localization.localization_config import LocalizationConfig
from detection.localization.localization_evaluation import evaluate_localization
from detection.localization.localization_training import train_localizer
from foundation.errors import UserError
from foundation.file_reading import read_json
from reproduction.localization.localization_tables import CONFIGS_OF, LocalizationRow
from reproduction.runs import CONFIGS, refuse_other, require_counts, state_of
from reproduction.tables import markdown_table
from training.config import load_config
from training.devices import broadcast_object, is_main

logger = logging.getLogger(__name__)
AGAIN = "remove its folder, and run the command again"
OF_SEARCHES = ("run.device", "run.workers", "data.root", "testing.best", "testing.nms_threshold")


class Training(NamedTuple):
    """One network's training in its folder."""

    config: LocalizationConfig
    folder: Path


@dataclass(frozen=True)
class Search:
    """One search of the validation pictures.

    Attributes:
        weights: of one network; without, `boxes` are joined.
        boxes: files that other searches have written before.
        overrides: of the configuration of the network's training.
    """

    row: LocalizationRow
    folder: Path
    weights: Path | None
    boxes: tuple[Path, ...]
    overrides: tuple[str, ...]

    @property
    def kept(self) -> Path:
        """Where its own boxes are written."""
        return self.folder / "boxes.npz"


class Plan(NamedTuple):
    """All that the rows need, in the order in which it is done."""

    trainings: list[Training]
    searches: list[Search]


def plan_localization(
    rows: Sequence[LocalizationRow],
    seeds: int,
    folder: Path,
    overrides: Sequence[str],
    *,
    file: Path | None = None,
) -> Plan:
    """The trainings with seeds 0 … seeds - 1 and the searches of these rows.

    R-CNN looks at the boxes that the RPN of its seed has found densely, and an ensemble joins what the R-CNNs
    of all seeds have found: these searches are made where a row needs them.

    Args:
        file: a configuration that takes the place of both of the paper's; R-CNN is trained with step=rcnn.
    Raises:
        UserError: a number below 1, a wrong override, or a folder of another configuration.
    """
    require_counts(seeds=seeds)
    for override in overrides:
        if override.partition("=")[0] in ("run.seed", "step", "regions.proposals"):
            raise UserError(f"{override!r}: --seeds and --rows choose it; leave it out")
    with_rcnn = any(row.network in ("rcnn", "ensemble") for row in rows)
    trainings: list[Training] = []
    for seed in range(seeds):
        rpn, rcnn = (folder / f"{name}_seed{seed}" for name in ("rpn", "rcnn"))
        seeded = [*overrides, f"run.seed={seed}"]
        trainings.append(Training(_load("rpn", file, [*seeded, "step=rpn", "regions.proposals=null"]), rpn))
        if with_rcnn:
            more = [*seeded, "step=rcnn", f"regions.proposals={rpn / 'last.safetensors'}"]
            trainings.append(Training(_load("rcnn", file, more), rcnn))
    for training in trainings:
        refuse_other(training.folder, training.config)
    carried = tuple(text for text in overrides if text.partition("=")[0] in OF_SEARCHES)
    alone = [row for row in rows if row.network != "ensemble"]
    searches = [_search(row, seed, folder, carried) for seed in range(seeds) for row in alone]
    for row in rows:
        if row.network == "ensemble":
            files = tuple(folder / f"rcnn-top5_seed{seed}" / "boxes.npz" for seed in range(seeds))
            searches.append(Search(row, folder / f"{row.key}_seed0", None, files, carried))
    return Plan(trainings, searches)


def _search(row: LocalizationRow, seed: int, folder: Path, carried: tuple[str, ...]) -> Search:
    """What one network is asked for."""
    place, weights = (
        folder / f"{row.key}_seed{seed}",
        folder / f"{row.network}_seed{seed}" / "last.safetensors",
    )
    if row.network == "rcnn":
        return Search(row, place, weights, (folder / f"rpn-top5_seed{seed}" / "boxes.npz",), carried)
    scales = ("testing.scales=[]",) if row.protocol == "one_crop" else ()
    return Search(row, place, weights, (), (*carried, f"testing.protocol={row.protocol}", *scales))


def _load(step: str, file: Path | None, overrides: Sequence[str]) -> LocalizationConfig:
    return load_config(LocalizationConfig, file or CONFIGS / f"{CONFIGS_OF[step]}.yaml", overrides)


def execute_localization(plan: Plan, guesses: SavedScores | None) -> None:
    """Trains what has not ended, and searches what has not been searched with these networks and guesses."""
    for training in plan.trainings:
        state = state_of(training.folder)
        if state != "complete":
            logger.info("%s", training.folder.name)
            train_localizer(training.config, training.folder, resume=state == "begun")
    for search in plan.searches:
        if broadcast_object(is_current(search, guesses) if is_main() else False):
            continue
        logger.info("searching for %s", search.folder.name)
        evaluate_localization(
            weights=search.weights,
            boxes=search.boxes,
            guesses=guesses,
            overrides=search.overrides,
            out=search.folder,
            save_boxes=search.kept,
        )
        broadcast_object(None)  # nobody reads the boxes before they are written


def is_current(search: Search, guesses: SavedScores | None) -> bool:
    """Whether the folder's result is of these weights or boxes, searched so, with these guesses."""
    file = search.folder / "result.json"
    if not file.is_file() or not search.kept.is_file():
        return False
    about: dict[str, Any] = read_json(file, AGAIN)["evaluated"]
    if about.get("guesses") != (None if guesses is None else guesses.about):
        return False
    newest = max((path.stat().st_mtime_ns for path in search.boxes if path.is_file()), default=0)
    if file.stat().st_mtime_ns < newest:
        return False
    if search.weights is None:
        return len(about.get("members", [None])) == len(search.boxes)
    return search.weights.is_file() and about.get("sha256") == digest(search.weights)


def describe_plan(plan: Plan, guesses: SavedScores | None) -> str:
    """Trainings and searches with their states."""
    trained = [
        [one.folder.name, state_of(one.folder), f"{one.config.schedule.total_steps:,}"]
        for one in plan.trainings
    ]
    searched = [
        [one.folder.name, "complete" if is_current(one, guesses) else "missing"] for one in plan.searches
    ]
    return "\n\n".join(
        [
            markdown_table(["training", "state", "steps"], trained, right=(2,)),
            markdown_table(["search", "state"], searched),
        ]
    )
