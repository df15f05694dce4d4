"""The story of localization: a training, and an evaluation with guesses."""

import json
from pathlib import Path

import numpy as np
import pytest

from detection.localization.localization_config import LocalizationConfig
from detection.localization.localization_result import JudgedPictures
from foundation.errors import UserError
from reporting.localization_story import tell_evaluation, tell_training
from reporting.page.page_parts import Note, Table
from reporting.run_report import find_kind, write_report
from training.config import dump_config, load_config


@pytest.fixture
def training(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    config = load_config(LocalizationConfig, None, ["data.kind=shapes_loc", "backbone.name=resnet18"])
    (folder / "config.yaml").write_text(dump_config(config))
    entries = [{"step": 50, "loss_box": 0.5}, {"step": 100, "val/oracle_error": 0.25}]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, entries)))
    return folder


def test_a_training(training: Path, tmp_path: Path):
    story, _ = tell_training(training, "run", 1)
    assert story.headline == "Localization: error with the true class 25.0 %"
    (facts, figures, *_) = story.sections
    assert facts.title == "What was run" and isinstance(figures.parts[0], Table)
    assert figures.parts[0].rows == [["error with the true class, %", "25.0"]]
    assert find_kind(training).made_by == "train_loc.py"
    page = write_report([training], tmp_path / "page.html", 10).read_text()
    assert "per-class RPN, resnet18 from random weights" in page and "tools/train_loc.py" in page


def test_a_training_that_was_not_evaluated(training: Path):
    (training / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="has not been evaluated yet"):
        tell_training(training, "run", 1)


def test_intervals_from_the_pictures(training: Path):
    wrong = np.arange(40) < 10
    pictures = JudgedPictures([*map(str, range(40))], ["cat"], [1] * 40, "set", {"oracle_error": wrong})
    pictures.save(training / "per_picture.npz")
    story, run = tell_training(training, "run", 2000)
    # The mean of 40 draws with p = 1/4 deviates by sqrt(3 / 16 / 40) = 6.8 points; 1.96 of that are 13.4.
    low, high = run.intervals["oracle_error"]
    assert (low, high) == pytest.approx((0.25 - 0.134, 0.25 + 0.134), abs=0.02)
    assert (
        story.headline
        == f"Localization: error with the true class 25.0 ({100 * low:.1f} to {100 * high:.1f}) %"
    )
    assert run.pictures is not None and run.config is not None and len(run.entries) == 2


def test_an_evaluation(tmp_path: Path):
    result = {
        "metric": "localization",
        "scores": {"oracle_error": 0.1, "top5_error": 0.2},
        "intervals": {"top5_error": [0.15, 0.25]},
        "pictures": 48238,
        "evaluated": {"weights": "w.safetensors", "members": [{}, {}]},
    }
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert find_kind(tmp_path).made_by == "eval_loc.py --out"
    story, _ = tell_evaluation(tmp_path, "eval", 1)
    assert story.headline == "Localization: error of five guesses 20.0 (15.0 to 25.0) %"
    table, note, why = story.sections[1].parts
    assert why.text.startswith(
        "Of single pictures nothing is known: there is no per_picture.npz in the folder; "
    )
    assert isinstance(table, Table) and isinstance(note, Note)
    assert table.rows[1] == ["error of five guesses, %", "20.0 (15.0 to 25.0)"]
    assert note.text.startswith("On 48,238 pictures. Intervals, 95 %,")
