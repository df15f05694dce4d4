"""Tables of classifiers from run folders made by hand: the record, and the Markdown drawn from it."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from reproduction import tables as module
from reproduction.classifier_table_report import markdown, record
from reproduction.published.paper import TABLES
from reproduction.results.provenance import Made
from reproduction.tables import read_line

Found = Callable[..., Any]
MADE = Made("python tools/reproduce.py", "a machine", "2.14.1")


def cells(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


def table(number: str, out: Path, **options: bool) -> tuple[str, list[dict]]:
    what = TABLES[number]
    content = record(number, [read_line(row, what.protocol, out, **options) for row in what.rows], MADE)
    return markdown(content), json.loads(json.dumps(asdict(content), allow_nan=False))["rows"]


def test_table_6_by_hand(write_run: Found, tmp_path: Path):
    for seed, error in enumerate([8.5, 8.7, 9.0]):
        write_run("resnet20_cifar", seed, top1_error=error)
    write_run("resnet110_cifar", top1_error=6.5)
    write_run("plain56_cifar", top1_error=13.0)
    write_run("resnet32_cifar")
    text, rows = table("6", tmp_path)
    found = cells(text)
    # Mean 26.2 / 3 = 8.7333; deviations -.2333, -.0333, .2667: variance .12667 / 2 = .06333, root .25166.
    assert found["ResNet-20"] == ["8.75", "8.73 ± 0.25", "3", "-0.02", "–", "64,000 (163.8)"]
    assert found["ResNet-110"][:4] == ["6.61 ± 0.16 (best 6.43)", "6.50", "1", "-0.11"]
    assert found["plain-56"][:4] == ["no number, Fig. 6", "13.00", "1", "–"]
    assert found["ResNet-32"][1] == "not ended"
    assert found["ResNet-44"][1:3] == ["not run", "0"]
    assert found["Maxout"][:2] == ["9.38", "not ours"]
    assert "not comparable" not in text.lower()
    (row,) = [row for row in rows if row["key"] == "resnet20_cifar"]
    assert row["comparable"] and row["changed"] == []
    scores = row["scores"]["top1_error"]
    assert scores == {
        "n": 3,
        "mean": pytest.approx(8.73333, abs=1e-5),
        "deviation": pytest.approx(0.25166, abs=1e-5),
        "difference": pytest.approx(-0.01667, abs=1e-5),
    }
    assert [(run["seed"], run["scores"]["top1_error"]) for run in row["runs"]] == [
        (0, 8.5),
        (1, 8.7),
        (2, 9.0),
    ]
    assert row["runs"][0]["epochs"] == pytest.approx(163.84)
    assert row["paper"]["top1_error"] == {"value": 8.75, "deviation": None, "best": None, "median": False}


def test_medians_are_compared_with_medians(write_run: Found, tmp_path: Path):
    key = "resnet110_cifar-scaled-0.5-0.5"
    for seed, error in enumerate([12.0, 12.5, 19.0]):
        write_run(key, seed, table="identity1", top1_error=error)
    overrides = ["model.name=resnet20_cifar"]
    write_run("resnet110_cifar-scaled-0-1", table="identity1", overrides=overrides, top1_error=88.0)
    text, rows = table("identity1", tmp_path)
    found = cells(text)
    # The median is 12.50, 0.15 above 12.35; the mean is 14.50.
    of_row = found["constant scaling, shortcut 0.5, F 0.5"]
    assert of_row[:4] == ["12.35", "14.50 ± 3.91", "3", "+0.15"]
    assert found["constant scaling, shortcut 0, F 1"][:4] == ["fail (above 20)", "88.00", "1", "–"]
    assert "difference is that of our median" in text
    assert "- `model.name` resnet20_cifar instead of resnet110_cifar (constant scaling" in text
    assert [row["scores"]["top1_error"]["difference"] for row in rows if row["key"] == key] == [
        pytest.approx(0.15)
    ]


def test_the_order_of_seeds_is_that_of_numbers(write_run: Found, tmp_path: Path):
    for seed in (10, 2):
        write_run("resnet20_cifar", seed, top1_error=9.0)
    (tmp_path / "resnet20_cifar_seedling").mkdir()
    _, rows = table("6", tmp_path)
    assert [run["seed"] for run in rows[6]["runs"]] == [2, 10]


def test_a_shortened_schedule_is_not_comparable(write_run: Found, tmp_path: Path):
    short = ["schedule.total_steps=1600", "schedule.milestones=[800,1200]"]
    for key in ("resnet20_cifar", "plain20_cifar"):
        write_run(key, overrides=[*short, "run.eval_every=100", "run.workers=1"], top1_error=20.0)
    text, rows = table("6", tmp_path)
    # 1,600 steps of 128 are 4.096 times 50,000.
    assert cells(text)["ResNet-20"][1:] == ["20.00", "1", "(+11.25) not comparable", "–", "1,600 (4.1)"]
    assert "- `schedule.total_steps` 1600 instead of 64000 (all rows)" in text.splitlines()
    assert "eval_every" not in text and "workers" not in text
    assert not rows[6]["comparable"] and len(rows[6]["changed"]) == 2


def test_training_error_is_of_the_last_epoch(write_run: Found, tmp_path: Path):
    # The last report ends at 64,000; an epoch of 390.6 steps back are the reports begun from 63,609.4 on.
    errors = {63_500: 50.0, 63_800: 3.0, 63_900: 1.0, 64_000: 2.0}
    metrics = [{"step": step, "top1_error": error} for step, error in errors.items()]
    write_run("resnet20_cifar", metrics=metrics, top1_error=9.0)
    text, _ = table("6", tmp_path)
    assert cells(text)["ResNet-20"][4] == "1.50"


def test_imagenet_needs_its_protocol(
    write_run: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row_of: Found
):
    calls = []

    def stand_in(weights: Path, overrides: list[str], out: Path, *, protocol: str) -> dict[str, Any]:
        calls.append((weights.parent.name, weights.name, overrides, protocol))
        scores = {"top1_error": 23.05, "top5_error": 6.51}
        out.mkdir(exist_ok=True)
        (out / "result.json").write_text(json.dumps({"scores": scores}))
        return {"scores": scores}

    monkeypatch.setattr(module, "score_weights", stand_in)
    folder = write_run("resnet50", table="3", top1_error=99.0, top5_error=99.0)  # of the centre crop
    (folder / "last.safetensors").touch()
    text, _ = table("3", tmp_path)
    assert cells(text)["ResNet-50"][1] == "not scored" and not calls
    text, _ = table("3", tmp_path, score=True)
    assert cells(text)["ResNet-50"][:4] == ["22.85 / 6.71", "23.05 / 6.51", "1", "+0.20 / -0.20"]
    assert cells(text)["ResNet-50"][5] == "600,000 (119.9)"
    assert cells(text)["GoogLeNet"][0] == "– / 9.15"
    assert calls == [("resnet50_seed0", "last.safetensors", [], "ten-crop")]
    table("3", tmp_path, score=True)
    assert len(calls) == 1, "scored once, kept in the run's folder"
    table("4", tmp_path, score=True)
    assert calls[1][3] == "dense"
    kept = (folder / "ten-crop" / "result.json").stat()
    os.utime(folder / "last.safetensors", ns=(kept.st_atime_ns, kept.st_mtime_ns + 1))
    table("3", tmp_path, score=True)
    assert [call[3] for call in calls] == ["ten-crop", "dense", "ten-crop"], "other weights since"


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_what_was_computed_in_bf16_is_said(write_run: Found, tmp_path: Path, precision: str):
    write_run("resnet20_cifar", overrides=[f"run.precision={precision}"], top1_error=9.0)
    text, _ = table("6", tmp_path)
    assert ("Computed in bf16: ResNet-20." in text) is (precision == "bf16")
