"""What the rows of a detection table need: trainings, which rows share, and an evaluation of each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detection.config import DetectionConfig
from detection.data.dataset_splits import open_dataset
from foundation.errors import UserError
from reproduction.detectors.detection_tables import DETECTION_TABLES, DetectionRow
from reproduction.detectors.row_configs import (
    TESTING,
    detector_changes,
    detector_config,
    overrides_of,
    training_config,
    training_key,
)
from reproduction.detectors.row_evaluation import Evaluation, is_current
from reproduction.runs import choose_rows, refuse_other, require_counts, state_of
from reproduction.tables import markdown_table
from reproduction.trainings import Training, refuse_processes
from training.schedule import in_steps

# What a command may change of a trained detector's configuration when it is scored.
OF_SCORING = (TESTING, "data.root=", "run.device=", "run.workers=")


@dataclass(frozen=True)
class Plan:
    """All that the rows need, in the order in which it is done."""

    trainings: list[Training]
    evaluations: list[Evaluation]


def select_rows(number: str, names: Sequence[str]) -> list[DetectionRow]:
    """The rows of a table called so, in its order; without names all that are trained here.

    Raises:
        UserError: there is no such row, nothing trains it, or the table's figures come from a server.
    """
    table = DETECTION_TABLES[number]
    if not any(row.scores for row in table.rows):
        raise UserError(
            f"the figures of Table {number} come from PASCAL VOC's evaluation server; train its "
            "configurations with tools/train_det.py, and see tools/eval_det.py --submission"
        )
    return choose_rows(table.rows, names)


def plan_rows(
    rows: Sequence[DetectionRow],
    seeds: int,
    folder: Path,
    overrides: Sequence[str],
    *,
    file: Path | None = None,
    together: int = 1,
) -> Plan:
    """The trainings with seeds 0 … seeds - 1, and the evaluations of these rows.

    A row of n networks has an evaluation for every n seeds.

    Args:
        folder: of the table's trainings and evaluations.
        file: a configuration that takes the place of the rows' own.
    Raises:
        UserError: a number below 1, too few seeds, a wrong override, two rows that are the same, or a folder
            made with another configuration.
    """
    require_counts(seeds=seeds, together=together)
    refuse_processes(together, "--together")
    for override in overrides:
        if override.partition("=")[0] == "run.seed":
            raise UserError(f"{override!r}: --seeds chooses the seeds; leave it out")
    _refuse_equal(rows, overrides, file)
    trainings: dict[tuple[str, int], Training] = {}
    evaluations = []
    for seed in range(seeds):
        for row in rows:
            key = training_key(row, file)
            if (key, seed) not in trainings:
                config = training_config(row, seed, overrides, file=file)
                trainings[key, seed] = _training(f"{key}, seed {seed}", config, folder / f"{key}_seed{seed}")
    for row in rows:
        if seeds < row.networks:
            raise UserError(
                f"row {row.key} needs {row.networks} trainings that differ in the seed, got --seeds {seeds}"
            )
        key = training_key(row, file)
        scoring = [one for one in overrides_of(row, overrides) if one.startswith(OF_SCORING)]
        for number in range(seeds // row.networks):
            chosen = range(number * row.networks, (number + 1) * row.networks)
            networks = tuple(trainings[key, seed].folder for seed in chosen)
            evaluations.append(Evaluation(row.key, networks, folder / f"{row.key}_seed{number}", scoring))
    return Plan([*trainings.values()], evaluations)


def _training(name: str, config: DetectionConfig, folder: Path) -> Training:
    config = in_steps(config, lambda: len(open_dataset(config.data, config.data.train)))
    refuse_other(folder, config)
    return Training(name, config, folder, state_of(folder) != "missing", overwrite=False)


def _refuse_equal(rows: Sequence[DetectionRow], overrides: Sequence[str], file: Path | None) -> None:
    """Two rows that are scored and trained alike would be the same detector twice."""
    configs = [detector_config(row, overrides, file=file) for row in rows]
    for i, row in enumerate(rows):
        for j, other in enumerate(rows[:i]):
            if row.networks == other.networks and not detector_changes(configs[j], configs[i]):
                raise UserError(
                    f"rows {other.key} and {row.key} are the same detector with {_changed(overrides, file)}; "
                    "choose one of them with --rows"
                )


def _changed(overrides: Sequence[str], file: Path | None) -> str:
    return " ".join([*([f"--config {file}"] if file else []), *overrides])


def describe_plan(plan: Plan) -> str:
    """What is there and what will be done, in Markdown."""
    runs = [
        [training.folder.name, state_of(training.folder), f"{training.config.schedule.total_steps:,}"]
        for training in plan.trainings
    ]
    scored = [
        [
            evaluation.folder.name,
            "complete" if is_current(evaluation) else "missing",
            ", ".join(folder.name for folder in evaluation.networks),
        ]
        for evaluation in plan.evaluations
    ]
    states = [run[1] for run in runs]
    counts = ", ".join(
        f"{states.count(state)} {words}"
        for state, words in (("complete", "complete"), ("begun", "to be resumed"), ("missing", "missing"))
    )
    done = sum(row[1] == "complete" for row in scored)
    return (
        f"{markdown_table(['training', 'state', 'steps'], runs, right=(2,))}\n\n"
        f"{markdown_table(['evaluation', 'state', 'of'], scored)}\n\n"
        f"{len(runs)} trainings: {counts}. {len(scored)} evaluations: {done} complete, "
        f"{len(scored) - done} missing."
    )
