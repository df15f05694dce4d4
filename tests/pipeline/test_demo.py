"""The commands of `make demo`, as the Makefile has them, with tiny numbers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

SHORT = ["schedule.total_steps=2", "run.eval_every=2"]
SMALL = ["model.name=resnet18", "data.image_size=32", "data.resize=32", *SHORT]


def test_the_demo_from_end_to_end(
    made: Callable,
    tool: Callable,
    root: Path,
    tiny_classifier: list[str],
    tiny_detector: list[str],
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(root / "configs")
    demo = tmp_path / "runs" / "demo"
    (demo / "data").mkdir(parents=True)
    (demo / "data" / "few_shapes").symlink_to(data_folder / "shapes")  # pictures to predict on
    tiny = {
        "pretrain": [*tiny_classifier, *SMALL],
        "transfer": [*tiny_detector, "rpn.anchor_sizes=[8, 16, 32, 64, 128]", *SHORT],
    }
    for words in made("demo"):
        if len(words) > 1 and words[1].startswith("tools/"):
            name = Path(words[1]).stem
            tool(name, *words[2:], *tiny.get(name, []))
    table = capsys.readouterr().out
    assert "| pretrained less scratch |" in table and "pretrained_unfrozen" not in table
    rows = json.loads((demo / "transfer" / "transfer.json").read_text())["rows"]
    assert [row["labels"]["start"] for row in rows[:2]] == ["pretrained", "scratch"]
    assert len(list((demo / "pictures").glob("*.png"))) == 12
    assert table.splitlines()[-1].endswith("report.html") and (demo / "report.html").is_file()


@pytest.mark.slow
def test_trainings_at_once_are_those_one_after_the_other(
    tool: Callable, tiny_classifier: list[str], tiny_detector: list[str], tmp_path: Path
):
    tool("pretrain", "--out", tmp_path / "weights", *tiny_classifier, *SMALL)
    options = ["--weights", tmp_path / "weights" / "last.safetensors", "--seeds", 1, *tiny_detector, *SHORT]
    options += ["backbone.norm=batch", "backbone.frozen_stages=0"]
    for processes in (1, 2):
        tool("transfer", "--out", tmp_path / str(processes), "--processes", processes, *options)
    for file in ("scratch_seed0/metrics.jsonl", "pretrained_seed0/last.safetensors"):
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


def test_a_training_that_fails_ends_those_beside_it(
    refused: Callable[..., str], tiny_detector: list[str], tmp_path: Path
):
    options = ["--seeds", 1, "--out", tmp_path / "out", *tiny_detector, "backbone.norm=batch"]
    message = refused(
        "transfer", "--weights", tmp_path / "none", "--processes", 2, *options, "backbone.frozen_stages=0"
    )
    assert f"{tmp_path}/none" in message
