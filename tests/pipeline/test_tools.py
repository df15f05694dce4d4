"""The whole path through the command lines, and what each leaves behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

from backbones import read_weights

TOOLS = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "tools").glob("*.py"))


@pytest.mark.parametrize("name", TOOLS)
def test_help_needs_neither_torch_nor_pydantic(name: str, root: Path):
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['pydantic'] = sys.modules['numpy'] = None; "
        f"sys.argv = ['{name}', '--help']; runpy.run_path('tools/{name}.py', run_name='__main__')"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "usage:" in finished.stdout


def test_pretrain_transfer_evaluate_predict(
    tool: Callable,
    tiny_classifier: list[str],
    tiny_detector: list[str],
    data_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
):
    classifier, detector = tmp_path / "classifier", tmp_path / "detector"
    small = [
        "model.name=resnet18",
        "schedule.total_steps=4",
        "run.eval_every=2",
        "data.image_size=32",
        "data.resize=32",
    ]
    tool("pretrain", "--out", classifier, *tiny_classifier, *small)
    names = {
        "config.yaml",
        "metrics.jsonl",
        "checkpoint.pt",
        "best.safetensors",
        "last.safetensors",
        "result.json",
    }
    assert {path.name for path in classifier.iterdir()} == names | {"events"}
    result = json.loads((classifier / "result.json").read_text())
    assert result["step"] == 4 and result["pictures"] == 400 and len(result["class_top1_error"]) == 10
    _, header = read_weights(classifier / "last.safetensors")
    assert header is not None and header.model == "resnet18" and len(header.classes) == 10

    tool("eval_cls", "--weights", classifier / "last.safetensors", "--out", tmp_path / "scores")
    again = json.loads((tmp_path / "scores" / "result.json").read_text())
    assert again["scores"] == pytest.approx(result["scores"], rel=1e-5)  # other batches, other rounding
    capsys.readouterr()

    weights = classifier / "best.safetensors"
    frozen = [f"backbone.weights={weights}", "backbone.norm=frozen", "backbone.frozen_stages=2"]
    tool("train_det", "--out", detector, *tiny_detector, *frozen)
    result = json.loads((detector / "result.json").read_text())
    assert result["step"] == 8 and result["metric"] == "coco" and len(result["class_ap"]) == 10
    before, after = load_file(weights), load_file(detector / "last.safetensors")
    assert (after["trunk.layer1.0.conv1.weight"] == before["layer1.0.conv1.weight"]).all()
    assert (after["trunk.layer3.0.conv1.weight"] != before["layer3.0.conv1.weight"]).any()
    assert (after["trunk.layer3.0.bn1.weight"] == before["layer3.0.bn1.weight"]).all()

    capsys.readouterr()
    tool("eval_det", "--weights", detector / "last.safetensors", "--out", tmp_path / "evaluated")
    printed = capsys.readouterr().out
    assert "AP50" in printed and "triangle" in printed
    assert json.loads((tmp_path / "evaluated" / "result.json").read_text())["scores"] == result["scores"]
    truth = data_folder / "coco" / "annotations" / "instances_val.json"
    tool("eval_det", "--predictions", detector / "predictions.json", "--dataset", f"coco:{truth}")
    assert capsys.readouterr().out == printed

    pictures = data_folder / "coco" / "val"
    tool(
        "predict",
        pictures,
        "--weights",
        detector / "last.safetensors",
        "--out",
        tmp_path / "drawn",
        "--threshold",
        0,
    )
    drawn = sorted((tmp_path / "drawn").glob("*.png"))
    assert len(drawn) == 4
    first = sorted(pictures.iterdir())[0]
    assert Image.open(drawn[0]).size == Image.open(first).size
    content = json.loads((tmp_path / "drawn" / "predictions.json").read_text())
    assert content.keys() == {"images", "categories", "annotations"} and len(content["images"]) == 4


def test_comparison_of_starts(
    tool: Callable,
    tiny_classifier: list[str],
    tiny_detector: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
):
    small = ["model.name=resnet18", "schedule.total_steps=1", "data.image_size=32", "data.resize=32"]
    tool("pretrain", "--out", tmp_path / "classifier", *tiny_classifier, *small)
    weights = tmp_path / "classifier" / "best.safetensors"
    frozen = [
        "backbone.norm=frozen",
        "backbone.frozen_stages=2",
        "schedule.total_steps=2",
        "run.eval_every=1",
    ]
    capsys.readouterr()
    out = tmp_path / "transfer"
    tool("transfer", "--weights", weights, "--seeds", 2, "--out", out, *tiny_detector, *frozen)
    table = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in table.splitlines()] == [
        "coco, %, 2 steps, seeds: 2", "---", "pretrained", "scratch", "difference",
    ]  # fmt: skip
    assert Image.open(out / "curves.png").size[0] > 500
    results = json.loads((out / "comparison.json").read_text())
    assert [len(results[start]) for start in ("pretrained", "scratch")] == [2, 2]
    # Only what is missing runs again.
    (out / "scratch_seed1" / "result.json").unlink()
    kept = (out / "pretrained_seed0" / "result.json").stat().st_mtime_ns
    tool("transfer", "--weights", weights, "--seeds", 2, "--out", out, "--resume", *tiny_detector, *frozen)
    assert capsys.readouterr().out == table
    assert (out / "pretrained_seed0" / "result.json").stat().st_mtime_ns == kept
