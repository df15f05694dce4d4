"""Semantic segmentation from the command line: trained, scored, its label maps scored again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def weights(
    start: Callable[..., Any], tiny_segmenter: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """After two steps."""
    folder = tmp_path_factory.mktemp("segmentation") / "run"
    steps = ["schedule.total_steps=2", "run.workers=0"]
    assert start("train_seg", "--out", folder, *tiny_segmenter, *steps).wait() == 0
    return folder / "best.safetensors"


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def test_what_is_found_is_scored_alike(
    weights: Path, tool: Callable, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    trained = result(weights.parent)
    assert trained["scores"].keys() == {
        *("mIoU", "pixel_accuracy", "mean_accuracy", "frequency_weighted_IoU")
    }
    more = ["--masks", tmp_path / "masks", "--bootstrap", 20, "--out", tmp_path / "a", "run.workers=0"]
    tool("eval_seg", "--weights", weights, *more)
    found = result(tmp_path / "a")["scores"]
    assert found == pytest.approx(trained["scores"], rel=1e-3)  # in another layout of memory, so by rounding
    assert "mean IoU" in capsys.readouterr().out
    keys = ["data.kind=shapes", f"data.root={data_folder / 'shapes_segmentation'}"]
    tool("eval_seg", "--predictions", tmp_path / "masks", "--out", tmp_path / "b", *keys)
    assert result(tmp_path / "b")["scores"] == found
    assert len(list((tmp_path / "masks").glob("*.png"))) == 100


def test_other_ways_to_look(weights: Path, tool: Callable, tmp_path: Path):
    options = ["testing.flip=true", "testing.scales=[0.75, 1.0]", "testing.window=40", "run.workers=0"]
    tool("eval_seg", "--weights", weights, "--boundaries", "--out", tmp_path, *options)
    assert {"mIoU", "boundary_F"} <= result(tmp_path)["scores"].keys()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--weights", "gone.safetensors"], "gone.safetensors"),
        (["--weights", "{weights}", "data.val=trian"], "trian"),
        (["--weights", "{weights}", "testing.windows=3"], "testing.windows: unknown key; did you mean"),
        (["--predictions", "nowhere", "data.kind=shapes"], "no folder"),
        (["--weights", "{weights}", "--bootstrap", "-1"], "--bootstrap must be 1 or more"),
    ],
)
def test_what_is_refused(weights: Path, refused: Callable, arguments: list[str], text: str):
    assert text in refused("eval_seg", *(argument.format(weights=weights) for argument in arguments))


def test_a_network_of_something_else(weights: Path, refused: Callable):
    assert "expected a detector's weights" in refused("eval_det", "--weights", weights)
