"""ImageNet's detection task from the command line, on Shapes in its layout: trained, scored, submitted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detection.data.annotations import void_pairs
from detection.data.dataset_splits import DataConfig, open_dataset
from detection.metrics import ilsvrc_ap
from detection.results.result_records import from_coco_records

OF_SET = ["data.kind=shapes_det", "data.train=train+val1", "data.val=val2", "metric=ilsvrc_det"]
FILES = ("metrics.jsonl", "result.json", "best.safetensors", "last.safetensors")


def test_trained_killed_continued_scored_and_submitted(
    start: Callable,
    kill_at: Callable,
    tool: Callable,
    tiny_detector: list[str],
    data_folder: Path,
    tmp_path: Path,
):
    options = [*tiny_detector, *OF_SET, "data.train_per_class=20", "run.eval_every=8"]
    assert start("train_det", "--out", tmp_path / "whole", *options).wait() == 0
    killed = tmp_path / "killed"
    kill_at(start("train_det", "--out", killed, *options), 5)
    assert not (killed / "result.json").exists()
    assert start("train_det", "--out", killed, "--resume", *options).wait() == 0
    for file in FILES:
        assert (killed / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file

    weights, out = killed / "last.safetensors", tmp_path / "scored"
    asked = ["--bootstrap", 20, "--report", "--worst", 1, "--operating-point", "f1", "--out", out]
    sent = tmp_path / "sent.txt"
    # Eight steps make no score of 0.05: all that is proposed is answered.
    tool("eval_det", "--weights", weights, "roi.score_threshold=0.0", *asked, "--submission", sent)
    result, records = (json.loads((out / f"{n}.json").read_text()) for n in ("result", "predictions"))
    assert result["metric"] == "ilsvrc_det" and result["scores"].keys() == {"mAP"}
    assert result["interval"]["figure"] == result["scores"]["mAP"] > 0
    check_score(result, records, data_folder)
    check_submission(sent, records, data_folder)

    place = f"shapes_det:{data_folder / 'shapes_ilsvrc'}"
    again = tmp_path / "again"
    tool("eval_det", "--predictions", out / "predictions.json", "--dataset", place, "--out", again)
    assert json.loads((again / "result.json").read_text())["scores"] == result["scores"]
    # Nobody but the server knows the objects of the test set.
    tool("eval_det", "--weights", weights, "data.val=test", "--submission", tmp_path / "server")
    lines = (tmp_path / "server" / "detections_test_residual-backbones.txt").read_text().splitlines()
    assert all(1 <= int(line.split()[0]) <= 20 and len(line.split()) == 7 for line in lines)


def val2(data_folder: Path) -> Any:
    return open_dataset(DataConfig(kind="shapes_det", root=str(data_folder / "shapes_ilsvrc")), "val2")


def check_score(result: dict, records: list[dict], data_folder: Path) -> None:
    """The figure is that of the blacklisted pairs left out, which changes it."""
    dataset = val2(data_folder)
    found, classes = from_coco_records(records, dataset), len(dataset.classes)
    scores = ilsvrc_ap.evaluate(found, dataset.targets, classes, void_pairs=void_pairs(dataset))
    assert scores.mean == result["scores"]["mAP"] and dataset.void_pairs
    assert scores.num_objects.sum() < sum(len(target.labels) for target in dataset.targets)


def check_submission(file: Path, records: list[dict], data_folder: Path) -> None:
    """A line per record: the picture's place in val2.txt, class, score, inclusive corners from 0."""
    listed = (data_folder / "shapes_ilsvrc" / "ILSVRC" / "ImageSets" / "DET" / "val2.txt").read_text()
    place = {line.split()[0]: number for number, line in enumerate(listed.splitlines(), start=1)}
    lines = file.read_text().splitlines()
    assert len(lines) == len(records) > 0
    for line, record in zip(lines, records, strict=True):
        number, category, *values = line.split()
        x, y, width, height = record["bbox"]
        assert (int(number), int(category)) == (place[record["image_id"]], record["category_id"])
        assert [float(value) for value in values] == pytest.approx(
            [record["score"], x, y, x + width - 1, y + height - 1], abs=2e-5
        )
