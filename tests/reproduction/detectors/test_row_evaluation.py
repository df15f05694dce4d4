"""When a row is scored, and when the result that lies there is kept."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones import save_weights
from detection.build import build_detector, detector_header
from detection.config import DetectionConfig
from reproduction.detectors import row_evaluation as module
from reproduction.detectors.row_evaluation import Evaluation, evaluate, is_current
from training.config import load_config


def write_detector(config: DetectionConfig, folder: Path, seed: int = 0) -> None:
    torch.manual_seed(seed)
    model = build_detector(config, 1)
    folder.mkdir(exist_ok=True)
    header = detector_header(model, config, ["cat"], {}, category_ids=[7])
    save_weights(folder / "last.safetensors", model.state_dict(), header)


@pytest.fixture
def evaluation(tiny_config: Path, tmp_path: Path) -> Evaluation:
    """Of an untrained detector."""
    write_detector(load_config(DetectionConfig, tiny_config), tmp_path / "run")
    return Evaluation("refinement", (tmp_path / "run",), tmp_path / "scored", ["testing.refine=1"])


@pytest.fixture
def scorings(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The overrides of every scoring that takes place."""
    calls: list[list[str]] = []
    score = module.score_weights

    def noted(weights: Any, overrides: list[str], out: Path) -> Any:
        calls.append(overrides)
        return score(weights, overrides, out)

    monkeypatch.setattr(module, "score_weights", noted)
    return calls


def test_a_row_is_scored_once(evaluation: Evaluation, scorings: list):
    assert not is_current(evaluation)
    evaluate(evaluation)
    evaluate(evaluation)
    assert scorings == [["testing.refine=1"]] and is_current(evaluation)
    result = json.loads((evaluation.folder / "result.json").read_text())
    assert result["evaluated"]["config"]["testing"]["refine"] == 1
    assert result["evaluated"]["cost"]["seconds_a_picture"] > 0
    evaluate(replace(evaluation, overrides=["testing.refine=1", "run.workers=1"]))  # the same scores
    assert len(scorings) == 1


def test_another_configuration_is_scored_again(evaluation: Evaluation, scorings: list):
    evaluate(evaluation)
    evaluate(replace(evaluation, overrides=["testing.refine=2"]))
    assert scorings == [["testing.refine=1"], ["testing.refine=2"]]


def test_other_weights_are_scored_again(evaluation: Evaluation, scorings: list, tiny_config: Path):
    evaluate(evaluation)
    write_detector(load_config(DetectionConfig, tiny_config), evaluation.networks[0], seed=1)
    assert not is_current(evaluation)
    evaluate(evaluation)
    assert len(scorings) == 2
    (evaluation.networks[0] / "last.safetensors").unlink()
    assert not is_current(evaluation)


def test_an_ensemble_is_scored_once_and_is_of_all_its_networks(
    evaluation: Evaluation, scorings: list, tiny_config: Path, tmp_path: Path
):
    for seed in (1, 2):
        write_detector(load_config(DetectionConfig, tiny_config), tmp_path / f"run{seed}", seed)
    together = replace(evaluation, networks=(*evaluation.networks, tmp_path / "run1", tmp_path / "run2"))
    evaluate(together)
    evaluate(together)
    assert len(scorings) == 1 and is_current(together)
    assert not is_current(replace(together, networks=together.networks[:2]))
    write_detector(load_config(DetectionConfig, tiny_config), tmp_path / "run2", seed=3)
    assert not is_current(together)
