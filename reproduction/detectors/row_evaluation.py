"""The evaluation of a row's networks, which is kept as long as weights and configuration are the same."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbones.weights.downloads import digest
from backbones.weights.weight_files import read_header
from detection.config import DetectionConfig
from detection.results.evaluation import score_weights
from foundation.file_reading import read_json
from training.config import differences, dump_config, parse_config
from training.devices import broadcast_object, is_main
from training.run_folder import FREE_KEYS

logger = logging.getLogger(__name__)
AGAIN = "remove its folder, and run the command again"


@dataclass(frozen=True)
class Evaluation:
    """One scoring of one network, or of several that answer together.

    Attributes:
        row: key of the row.
        networks: run folders.
        folder: for predictions.json and result.json.
        overrides: of the configuration that the networks were trained with.
    """

    row: str
    networks: tuple[Path, ...]
    folder: Path
    overrides: Sequence[str]

    @property
    def weights(self) -> list[Path]:
        """The files of the networks, as they are at the end of training."""
        return [folder / "last.safetensors" for folder in self.networks]


def is_current(evaluation: Evaluation) -> bool:
    """Whether the folder's result is of these weights, scored with this configuration."""
    result = evaluation.folder / "result.json"
    if not result.is_file() or not all(file.is_file() for file in evaluation.weights):
        return False
    about = read_json(result, AGAIN)["evaluated"]
    if about["sha256"] != ", ".join(map(digest, evaluation.weights)):
        return False
    header = read_header(evaluation.weights[0])
    assert header is not None  # our own training has written it
    expected = parse_config(DetectionConfig, header.config, evaluation.overrides, source="the command")
    changed = differences(dump_config(evaluated_config(about, result)), dump_config(expected))
    return all(line.partition(":")[0] in FREE_KEYS for line in changed)


def evaluated_config(about: dict[str, Any], file: Path) -> DetectionConfig:
    """The configuration of an evaluation, from "evaluated" of its result.json."""
    return parse_config(DetectionConfig, about["config"], source=f"{file}: config")


def evaluate(evaluation: Evaluation) -> None:
    """Scores the networks in this process or all of torchrun's, unless the folder holds the same already."""
    if broadcast_object(is_current(evaluation) if is_main() else False):
        return
    logger.info("scoring %s", evaluation.folder.name)
    score_weights(evaluation.weights, evaluation.overrides, evaluation.folder)
