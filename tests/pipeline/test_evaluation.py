"""The command line that scores classifiers: protocols, files, what it refuses, several processes."""

import csv
import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backbones import IMAGENET_INPUT, WeightsHeader, create_model, save_weights
from classification.config import PretrainConfig
from classification.data.shapes_folders import CLASSES
from classification.score import weight_evaluation as score
from training.config import load_config

SMALL = ["data.image_size=16", "data.resize=20", "run.device=cpu", "run.workers=0"]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Random weights of a small network, as of a run on Shapes."""
    torch.manual_seed(0)
    model = create_model("resnet8_cifar", num_classes=len(CLASSES))
    options = ["model.name=resnet8_cifar", "data.kind=shapes", "schedule.total_steps=1", *SMALL]
    config = asdict(load_config(PretrainConfig, None, options))
    header = WeightsHeader(model.name, model.options, IMAGENET_INPUT, config=config, classes=sorted(CLASSES))
    save_weights(tmp_path / "w.safetensors", model.state_dict(), header)
    return tmp_path / "w.safetensors"


def content(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_protocols_and_ensemble(tool: Callable, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    for protocol in ("ten-crop", "dense"):
        saved = ["--save-logits", tmp_path / f"{protocol}.npz", "--out", tmp_path / protocol]
        scales = ["--scales", "16,20"] if protocol == "dense" else []
        tool("eval_cls", "--weights", weights, "--protocol", protocol, *scales, *saved)
        result = content(tmp_path / protocol)
        assert (result["protocol"], result["pictures"]) == (protocol, 400)
        assert result["scores"].keys() == {"top1_error", "top5_error", "loss"}
    assert content(tmp_path / "dense")["scales"] == [16, 20]
    printed = capsys.readouterr().out
    assert "ten-crop\n" in printed and "dense, short sides of 16, 20 pixels" in printed
    files = [tmp_path / "ten-crop.npz", tmp_path / "dense.npz"]
    tool("eval_cls", "--ensemble", *files, "--out", tmp_path / "both")
    assert capsys.readouterr().out.startswith("mean of 2 files of scores\ntop-1 error, %")
    with (tmp_path / "both" / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wrong = sum(row["class_1"] != row["labels"] for row in rows)
    assert len(rows) == 400 and content(tmp_path / "both")["scores"]["top1_error"] == wrong / 4
    with (tmp_path / "both" / "confusion.csv").open(encoding="utf-8") as file:
        table = np.array([row[1:] for row in csv.reader(file)][1:], dtype=int)
    assert table.sum() - table.trace() == wrong and (table.sum(1) == 40).all()


def test_wrong_arguments(refused: Callable, tool: Callable, weights: Path, tmp_path: Path):
    saved = tmp_path / "a.npz"
    tool("eval_cls", "--weights", weights, "--save-logits", saved)
    message = refused("eval_cls", "--ensemble", saved, "--protocol", "dense", "--out", tmp_path / "out")
    assert message.startswith("error: protocol cannot change saved scores")
    assert "no such file" in refused("eval_cls", "--ensemble", saved, tmp_path / "b.npz")
    (tmp_path / "labels.txt").write_text("1\n2\n")
    message = refused("eval_cls", "--ensemble", saved, "--labels", tmp_path / "labels.txt")
    assert "labels.txt has 2 entries for 400 pictures" in message
    message = refused("eval_cls", "--weights", weights, "--protocol", "crops", "--out", tmp_path / "out")
    assert "--protocol 'crops' is unknown" in message and not (tmp_path / "out").exists()
    assert "got 0" in refused("eval_cls", "--weights", weights, "--reestimate-bn", 0)
    assert "no weights at" in refused("eval_cls", "--weights", tmp_path / "absent.safetensors")


@pytest.fixture
def forty_one(tmp_path: Path) -> Path:
    """A folder with a split of 41 pictures in Shapes' classes."""
    rng = np.random.default_rng(0)
    for number in range(41):
        folder = tmp_path / "set" / "val" / CLASSES[number % len(CLASSES)]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20 + number % 3, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "set"


def score_as(rank: int, processes: int, port: int, arguments: tuple, options: dict) -> None:
    """One of several processes."""
    places = {"RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    score.score_weights(*arguments, **options)


def score_with(processes: int, *arguments: object, **options: object) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = multiprocessing.get_context("fork").Process  # torch need not be imported again
    places = [(rank, processes, port, arguments, options) for rank in range(processes)]
    workers = [start(target=score_as, args=place) for place in places]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * processes


@pytest.mark.parametrize("missing", range(4))
def test_one_to_four_processes_write_the_same_files(
    weights: Path, forty_one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int
):
    # 41 to 38 pictures in batches of 3, the last of them smaller, are no multiple of 2, 3 or 4 batches.
    for batch in ("SCORED_AT_ONCE", "VIEWED_AT_ONCE"):
        monkeypatch.setattr(score, batch, 3)
    for picture in sorted(forty_one.rglob("*.png"))[: 5 * missing : 5]:
        picture.unlink()
    protocol = ("centre", "ten-crop", "dense", "centre")[missing]
    overrides = ["data.kind=folder", f"data.root={forty_one}"]
    for processes in range(1, 5):
        out = tmp_path / str(processes)
        saved = {"protocol": protocol, "save_logits": out / "scores.npz"}
        score_with(processes, weights, overrides, out, **saved)
        assert content(out)["pictures"] == 41 - missing
        for name in ("result.json", "predictions.csv", "confusion.csv", "scores.npz"):
            assert (out / name).read_bytes() == (tmp_path / "1" / name).read_bytes(), name
