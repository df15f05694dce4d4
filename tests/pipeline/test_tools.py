"""The whole path through the command lines, and what each leaves behind."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

from backbones import read_weights
from reproduction.results.results_page import fill

TOOLS = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "tools").glob("*.py"))
SMALL = [
    *("model.name=resnet18", "schedule.total_steps=4", "run.eval_every=2"),
    *("data.image_size=32", "data.resize=32"),
]


@pytest.mark.parametrize("name", TOOLS)
def test_help_needs_neither_torch_nor_pydantic(name: str, root: Path):
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['pydantic'] = sys.modules['numpy'] = None; "
        f"sys.argv = ['{name}', '--help']; runpy.run_path('tools/{name}.py', run_name='__main__')"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "usage:" in finished.stdout


def content(file: Path) -> dict:
    return json.loads(file.read_text())


def test_pretrain_transfer_evaluate_predict(
    tool: Callable,
    tiny_classifier: list[str],
    tiny_detector: list[str],
    data_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
):
    classifier, detector = tmp_path / "classifier", tmp_path / "detector"
    tool("pretrain", "--out", classifier, *tiny_classifier, *SMALL)
    check_classifier(classifier)
    tool("eval_cls", "--weights", classifier / "last.safetensors", "--out", tmp_path / "scores")
    again, result = (
        content(folder / "result.json")["scores"] for folder in (tmp_path / "scores", classifier)
    )
    assert again == pytest.approx(result, rel=1e-5)  # other batches, other rounding

    weights = classifier / "best.safetensors"
    frozen = [f"backbone.weights={weights}", "backbone.norm=frozen", "backbone.frozen_stages=2"]
    tool("train_det", "--out", detector, *tiny_detector, *frozen)
    check_detector(detector, weights)
    capsys.readouterr()

    tool("eval_det", "--weights", detector / "last.safetensors", "--out", tmp_path / "evaluated")
    printed = capsys.readouterr().out
    assert "AP50" in printed and "triangle" in printed
    result = content(detector / "result.json")["scores"]
    assert content(tmp_path / "evaluated" / "result.json")["scores"] == result
    truth = data_folder / "coco" / "annotations" / "instances_val.json"
    tool("eval_det", "--predictions", detector / "predictions.json", "--dataset", f"coco:{truth}")
    assert capsys.readouterr().out == printed
    twice = ["--predictions", detector / "predictions.json"] * 2
    tool("eval_det", *twice, "--dataset", f"coco:{truth}", "--merge", "wbf")
    assert capsys.readouterr().out.startswith("files 2, merge wbf\ncoco in %: AP ")
    looked = ["--explain", "--bootstrap", 20, "--report", "--worst", 2, "--submission", tmp_path / "sent"]
    tool("eval_det", "--weights", detector / "last.safetensors", *looked, "--out", tmp_path / "evaluated")
    text = capsys.readouterr().out
    assert text.startswith(printed.rstrip())
    assert all(part in text for part in ("resamples", "VOC2007", "TIDE"))
    assert len(list((tmp_path / "evaluated" / "misses").iterdir())) == 2
    (sent,) = (tmp_path / "sent").iterdir()
    assert sent.name == "detections_val_residual-backbones_results.json"
    assert content(sent) == content(tmp_path / "evaluated" / "predictions.json")

    pictures, out = data_folder / "coco" / "val", tmp_path / "drawn"
    options = ["--weights", detector / "last.safetensors", "--out", out, "--threshold", 0]
    tool("predict", pictures, *options, "run.device=cpu")
    check_drawings(out, sorted(pictures.iterdir()))
    found = ["--predictions", out / "predictions.json", "--dataset", f"coco:{truth}"]
    tool("eval_det", *found, "--out", tmp_path / "scored")
    assert capsys.readouterr().out == printed
    sure = [{**entry, "score": 0.75} for entry in content(truth)["annotations"] if not entry["iscrowd"]]
    (tmp_path / "sure.json").write_text(json.dumps(sure))
    found = ["--predictions", tmp_path / "sure.json", "--dataset", f"coco:{truth}"]
    tool("eval_det", *found, "--operating-point", "recall=1", "--out", tmp_path / "scored")
    assert "Operating point recall=1 at IoU 0.5" in capsys.readouterr().out
    options[-1] = tmp_path / "scored" / "operating_point.json"
    assert {entry["threshold"] for entry in content(options[-1])["classes"]} == {0.75}
    tool("predict", pictures, *options, "--overwrite", "run.device=cpu")
    check_drawings(out, sorted(pictures.iterdir()))
    two = sorted(pictures.iterdir())[:2]
    tool("predict", *two, *options, "--overwrite", "roi.detections_per_image=1")
    assert len(content(out / "predictions.json")["annotations"]) == 2


def check_classifier(folder: Path) -> None:
    names = {"config.yaml", "log.txt", "metrics.jsonl", "result.json", "events", ".lock"}
    names |= {"checkpoint.pt", "checkpoint.previous.pt", "best.safetensors", "last.safetensors"}
    assert {path.name for path in folder.iterdir()} == names
    result = content(folder / "result.json")
    assert result["step"] == 4 and result["pictures"] == 400 and len(result["class_top1_error"]) == 10
    _, header = read_weights(folder / "last.safetensors")
    assert header is not None and header.model == "resnet18" and len(header.classes) == 10


def check_detector(folder: Path, backbone: Path) -> None:
    """Of its backbone, layer1 is frozen, layer3 trained but for its normalisation."""
    result = content(folder / "result.json")
    assert result["step"] == 8 and result["metric"] == "coco" and len(result["class_ap"]) == 10
    before, after = load_file(backbone), load_file(folder / "last.safetensors")
    assert (after["trunk.layer1.0.conv1.weight"] == before["layer1.0.conv1.weight"]).all()
    assert (after["trunk.layer3.0.conv1.weight"] != before["layer3.0.conv1.weight"]).any()
    assert (after["trunk.layer3.0.bn1.weight"] == before["layer3.0.bn1.weight"]).all()


def check_drawings(folder: Path, pictures: list[Path]) -> None:
    drawn = sorted(folder.glob("*.png"))
    assert [path.name for path in drawn] == [f"{path.name}.png" for path in pictures]
    assert [Image.open(path).size for path in drawn] == [Image.open(path).size for path in pictures]
    found = content(folder / "predictions.json")
    assert found.keys() == {"images", "categories", "annotations"} and len(found["images"]) == 4


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
    masked = ["backbone.norm=frozen", "backbone.frozen_stages=2", "schedule.total_steps=1"]
    masked += ["detector.kind=dc5", "detector.mask=true", "roi.channels=32"]
    capsys.readouterr()
    out = tmp_path / "transfer"
    tool("transfer", "--weights", weights, "--seeds", 1, "--out", out, *tiny_detector, *masked)
    told = capsys.readouterr().out
    assert compared(told) == [
        ["start, coco", "box AP50, %", "box AP, %", "mask AP50, %", "mask AP, %"],
        *(["pretrained"], ["pretrained_unfrozen"], ["scratch"], ["pretrained less scratch"]),
        *(["pretrained_unfrozen less scratch"], ["pretrained_unfrozen less pretrained"]),
    ]
    assert Image.open(out / "curves.png").size[0] > 500
    record = (out / "transfer.json").read_text()
    assert "seed 0; 1 steps." in fill('{{ record("transfer") }}', copied(out / "transfer.json"))
    # Only what is missing runs again.
    (out / "scratch_seed0" / "result.json").unlink()
    kept = (out / "pretrained_seed0" / "result.json").stat().st_mtime_ns
    tool("transfer", "--weights", weights, "--seeds", 1, "--out", out, "--resume", *tiny_detector, *masked)
    assert capsys.readouterr().out == told and (out / "transfer.json").read_text() == record
    assert (out / "pretrained_seed0" / "result.json").stat().st_mtime_ns == kept


def compared(told: str) -> list[list[str]]:
    """The heading of a comparison's table, and the first cell of each row, of which no cell is empty."""
    heading, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines()
                         if line.startswith("|"))  # fmt: skip
    assert all(all(row) for row in rows) and {len(row) for row in rows} == {len(heading)}
    return [heading, *(row[:1] for row in rows)]


def copied(file: Path) -> Path:
    """A folder of records with this one alone, as it is."""
    folder = file.parent / "records"
    folder.mkdir()
    shutil.copy(file, folder)
    return folder


def test_comparison_of_starts_of_segmentation(
    tool: Callable,
    root: Path,
    tiny_classifier: list[str],
    tiny_segmenter: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
):
    tool("pretrain", "--out", tmp_path / "classifier", *tiny_classifier, "schedule.total_steps=1")
    weights, out = tmp_path / "classifier" / "last.safetensors", tmp_path / "transfer"
    options = ["--config", root / "configs" / "shapes_fcn_r18.yaml", "--weights", weights, "--seeds", 1]
    options += ["--out", out, *tiny_segmenter, "schedule.total_steps=1"]
    capsys.readouterr()
    tool("transfer", *options)
    told = capsys.readouterr().out
    rows = [["pretrained"], ["scratch"], ["pretrained less scratch"]]
    assert compared(told) == [["start, segmentation", "mIoU, %"], *rows]
    result = json.loads((out / "scratch_seed0" / "result.json").read_text())
    record = json.loads((out / "transfer.json").read_text())
    assert record["rows"][1]["scores"]["mIoU"]["values"] == [round(100 * result["scores"]["mIoU"], 4)]
    tool("transfer", "--resume", *options)
    assert capsys.readouterr().out == told and json.loads((out / "transfer.json").read_text()) == record
