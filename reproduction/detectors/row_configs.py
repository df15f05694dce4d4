"""The configuration of a row of a detection table, and how a run's differs from it."""

from collections.abc import Sequence
from pathlib import Path

from detection.config import DetectionConfig
from reproduction.detectors.detection_tables import DETECTION_TABLES, DetectionRow
from reproduction.runs import CONFIGS
from training.config import differences, dump_config, load_config

# Where a detector's run may differ from the paper's configuration and still be its row.
EXECUTION = ("run.", "data.root")
TESTING = "testing."  # the section that changes what a trained detector does with a picture
SWITCHED = {
    override.partition("=")[0]
    for table in DETECTION_TABLES.values()
    for row in table.rows
    for override in row.overrides
}


def file_of(row: DetectionRow, config: Path | None = None) -> Path:
    """The file that trains a row: its own, or another in its place."""
    return config or CONFIGS / f"{row.config}.yaml"


def overrides_of(row: DetectionRow, overrides: Sequence[str] = ()) -> list[str]:
    """All overrides of a row.

    A key that rows of the paper switch on, as testing.scales, gives its value to the rows that do, and to no
    others.
    """
    given = {override.partition("=")[0]: override for override in overrides}
    common = [override for key, override in given.items() if key not in SWITCHED]
    return [*common, *(given.get(own.partition("=")[0], own) for own in row.overrides)]


def detector_config(
    row: DetectionRow, overrides: Sequence[str] = (), *, file: Path | None = None
) -> DetectionConfig:
    """What a row is scored with.

    Args:
        file: takes the place of the row's own configuration.
    """
    return load_config(DetectionConfig, file_of(row, file), overrides_of(row, overrides))


def training_config(
    row: DetectionRow, seed: int, overrides: Sequence[str] = (), *, file: Path | None = None
) -> DetectionConfig:
    """What a row's networks are trained with: without what is done differently in testing alone."""
    trained = [one for one in overrides_of(row, overrides) if not one.startswith(TESTING)]
    return load_config(DetectionConfig, file_of(row, file), [*trained, f"run.seed={seed}"])


def training_key(row: DetectionRow, file: Path | None = None) -> str:
    """Names the trainings of a row; rows that are trained alike share it: "coco_frcnn_r101_context"."""
    trained = [override for override in row.overrides if not override.startswith(TESTING)]
    switched = [override.removesuffix("=true").rpartition(".")[2] for override in trained]
    return "_".join([file_of(row, file).stem, *switched])


def detector_changes(before: DetectionConfig, now: DetectionConfig) -> list[str]:
    """`training.config.differences` in what is learnt and how it is scored: without seed and execution."""
    lines = differences(dump_config(before), dump_config(now))
    return [line for line in lines if not line.startswith(EXECUTION)]
