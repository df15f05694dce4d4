"""The report of real trainings, and the command on it, which makes the very same run again."""

import json
import re
import shlex
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

SMALL = [
    "schedule.total_steps=4",
    "run.eval_every=2",
    "run.checkpoint_every=4",
    "data.image_size=16",
    "data.resize=16",
]


def run_again(tool: Callable, page: Path) -> Path:
    """Runs the command that stands on the page; returns the new folder."""
    found = re.search(r"<code>(python tools/\S+\.py .*?)</code>", page.read_text())
    assert found is not None
    command = shlex.split(unescape(found[1]))
    tool(Path(command[1]).stem, *command[2:])
    return Path(command[command.index("--out") + 1])


def test_a_classifier_its_evaluation_and_two_compared(
    tool: Callable, tiny_classifier: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
):
    run = tmp_path / "run"
    tool("pretrain", "--out", run, *tiny_classifier, *SMALL)
    tool("report", run)
    assert capsys.readouterr().out.strip().endswith("report.html")
    again = run_again(tool, run / "report.html")
    assert (again / "config.yaml").read_bytes() == (run / "config.yaml").read_bytes()
    assert (again / "last.safetensors").read_bytes() == (run / "last.safetensors").read_bytes()

    folders = [run, again]
    page = tmp_path / "page.html"
    tool("report", *folders, "--out", page)
    commands = re.findall(
        r"not known before python (tools/eval_cls\.py --weights \S+ --out \S+)\.<", page.read_text()
    )
    assert len(commands) == 1  # of the first that lacks it
    for folder in folders:
        tool("eval_cls", "--weights", folder / "last.safetensors", "--out", folder / "evaluation")
    tool("report", *folders, "--out", page, "--resamples", 50)
    assert "run_again less run" in page.read_text() and "McNemar" in page.read_text()
    tool("report", run / "evaluation")
    assert "Most frequent confusions" in (run / "evaluation" / "report.html").read_text()


def test_a_detector_and_its_evaluation(tool: Callable, tiny_detector: list[str], tmp_path: Path):
    run, scores = tmp_path / "run", tmp_path / "scores"
    tool("train_det", "--out", run, *tiny_detector)
    tool("report", run, "--resamples", 50)
    again = run_again(tool, run / "report.html")
    assert (again / "last.safetensors").read_bytes() == (run / "last.safetensors").read_bytes()
    assert json.loads((again / "result.json").read_text()) == json.loads((run / "result.json").read_text())
    tool("eval_det", "--weights", run / "last.safetensors", "--out", scores)
    tool("report", scores, run, "--out", tmp_path / "page.html", "--resamples", 50)
    text = (tmp_path / "page.html").read_text()
    assert "run less scores" in text and "are not compared" not in text and "Kinds of errors" in text


def words(page: Path) -> str:
    """What stands on the page, without markup."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page.read_text())))


def test_networks_for_segmentation_compared(tool: Callable, tiny_segmenter: list[str], tmp_path: Path):
    run, flipped, page = tmp_path / "run", tmp_path / "flipped", tmp_path / "page.html"
    options = [*tiny_segmenter, "schedule.total_steps=4", "run.eval_every=2", "run.workers=0"]
    tool("train_seg", "--out", run, *options)
    tool("train_seg", "--out", tmp_path / "other", *options, "optim.lr=0.1")
    weights = ["--weights", run / "last.safetensors", "run.workers=0"]
    tool("eval_seg", *weights, "--out", flipped, "testing.flip=true")
    tool("report", run, tmp_path / "other", flipped, "--out", page, "--resamples", 50)
    text = words(page)
    assert "are not compared" not in text and "Validation: mean IoU" in text
    for said in ("other less run", "flipped less other", "difference of mIoU, points", "class, IoU in %"):
        assert said in text
    assert "optim.lr 0.02 0.1 0.02" in text and "testing.flip false false true" in text
    # Other pictures, and a run from before there were counts of single pictures.
    tool("eval_seg", *weights, "--out", tmp_path / "trained", "data.val=train")
    (tmp_path / "other" / "per_picture.npz").unlink()
    tool("report", run, tmp_path / "trained", tmp_path / "other", "--out", page, "--resamples", 50)
    text = words(page)
    assert "run and trained are not compared: they were scored on different pictures, annotations or" in text
    assert "run and other are not compared: of other nothing is known of single pictures" in text
    assert "there is no per_picture.npz in the folder; tools/eval_seg.py --out DIR scores weights" in text


def test_localizers_and_something_else(
    tool: Callable, tiny_localizer: list[str], tiny_classifier: list[str], tmp_path: Path
):
    run, scored, page = tmp_path / "run", tmp_path / "scored", tmp_path / "page.html"
    tool("train_loc", "--out", run, *tiny_localizer, "schedule.total_steps=4", "run.workers=0")
    crop = ["testing.protocol=one_crop", "testing.scales=[]"]
    tool("eval_loc", "--weights", run / "last.safetensors", "--out", scored, "run.workers=0", *crop)
    tool("pretrain", "--out", tmp_path / "classifier", *tiny_classifier, *SMALL)
    tool("report", run, scored, tmp_path / "classifier", "--out", page, "--resamples", 50)
    text = words(page)
    for said in ("scored less run", "difference of the error with the true class, points", "McNemar"):
        assert said in text
    assert "testing.protocol dense one_crop" in text and "are not compared" not in text
    assert "Not compared, for there is nothing of the same kind: classifier." in text


def test_refused(refused: Callable[..., str], tmp_path: Path):
    assert "expected a run's folder; name one that holds a run" in refused("report", tmp_path / "none")
