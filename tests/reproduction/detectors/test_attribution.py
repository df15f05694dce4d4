"""Swaps of a detector's settings: what is refused, what is trained, and the figures by hand."""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detection.config import DetectionConfig
from foundation.errors import UserError
from reproduction import trainings
from reproduction.detectors.attribution import HELD, attribute, read_swaps
from reproduction.detectors.detector_groups import Scored
from reproduction.results.run_records import read_record
from training.config import dump_config

PLAIN, CEIL = ["backbone.name=plain18"], ["backbone.stem_pool=ceil", "optim.lr=0.02"]


def test_each_swap_is_one_variant(tiny_config: Path):
    configs = read_swaps(tiny_config, ["roi.size=3"], [PLAIN, CEIL])
    assert list(configs) == [HELD, "backbone.name=plain18", "backbone.stem_pool=ceil optim.lr=0.02"]
    held, plain, ceil = configs.values()
    assert {config.roi.size for config in configs.values()} == {3}
    assert (held.backbone.name, plain.backbone.name) == ("resnet18", "plain18")
    assert (ceil.backbone.stem_pool, ceil.optim.lr, held.optim.lr) == ("ceil", 0.02, 0.001)
    assert ceil.backbone.name == "resnet18" and plain.backbone.stem_pool == "padded"


@pytest.mark.parametrize(
    ("swaps", "message"),
    [
        ([], "nothing is swapped; say what with --swap"),
        ([["backbone.name=resnet18"]], "--swap backbone.name=resnet18 changes nothing; leave it out"),
        ([PLAIN, PLAIN], "plain18 is the same detector as --swap backbone.name=plain18; leave it out"),
        ([["run.seed=3"]], "--swap run.seed=3: --seeds chooses the seeds"),
        ([["metric=coco"]], "--swap metric=coco changes metric, so that its pictures could not be paired"),
        ([["data.val=other", *PLAIN]], "changes data.val, .*; give data.val to all variants, without --swap"),
        ([["data.kind=voc"]], "changes data.kind"),
        ([["backbone.nam=plain18"]], "backbone.nam: unknown key"),
        ([["plain18"]], "'plain18' is not an override"),
    ],
)
def test_what_is_refused(tiny_config: Path, swaps: list[list[str]], message: str):
    with pytest.raises(UserError, match=message):
        read_swaps(tiny_config, [], swaps)


def test_what_cannot_be_built_is_told_before_anything_is_trained(tiny_config: Path, tmp_path: Path):
    with pytest.raises(UserError, match="nothing worth freezing"):
        attribute(tiny_config, [PLAIN, ["backbone.norm=frozen"]], 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_figures_by_hand(
    tiny_config: Path, scored: Callable[..., Scored], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Configured, each seed finds another of two objects: 50 in the mean over the seeds of every resample.

    With the first swap every seed finds both, with the second the first alone: AP 0, 50 or 100 of resamples.
    """
    calls = []

    def stand_in(config: DetectionConfig, out: Path, *, resume: bool, overwrite: bool) -> dict[str, Any]:
        calls.append((out.name.split("_seed")[0], config.run.seed, resume))
        found = [1 + config.run.seed]
        if config.backbone.name == "plain18":
            found = [1, 2]
        elif config.optim.lr == 0.02:
            found = [1]
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").write_text(dump_config(config))
        shutil.copy(scored(f"{out.name}, again {resume}", found).folder / "predictions.json", out)
        return {"metric": "voc12", "step": 2, "scores": {"mAP": len(found) / 2}}

    monkeypatch.setattr(trainings, "finetune", stand_in)
    found = attribute(tiny_config, [PLAIN, CEIL], 2, tmp_path / "out")
    assert found is not None
    names = ["configured", "backbone.name_plain18", "backbone.stem_pool_ceil_optim.lr_0.02"]
    assert [(name[: len(full)], seed, resume) for (name, seed, resume), full in
            zip(calls, names * 2, strict=True)] == [
        (name, seed, False) for seed in (0, 1) for name in names
    ]  # fmt: skip
    assert found.markdown().splitlines() == [
        "| variant, voc12 | mAP, % |",
        "| --- | ---: |",
        "| configured | 50.0 ± 0.0 |",
        "| backbone.name=plain18 | 100.0 ± 0.0 |",
        "| backbone.stem_pool=ceil optim.lr=0.02 | 50.0 ± 0.0 |",
        "| backbone.name=plain18 less configured | +50.0 (+50.0 to +50.0) |",
        "| backbone.stem_pool=ceil optim.lr=0.02 less configured | +0.0 (−50.0 to +50.0) |",
    ]
    assert read_record(tmp_path / "out" / "attribution.json") == found
    assert (tmp_path / "out" / "attribution.md").is_file()
    calls.clear()
    attribute(tiny_config, [PLAIN], 1, tmp_path / "out", resume=True)
    assert [resume for _, _, resume in calls] == [True, True]


def test_from_the_command_line(
    root: Path, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    """Trained in earnest, and the same again with --resume."""
    spec = importlib.util.spec_from_file_location("tool_attribute", root / "tools" / "attribute.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def call(*arguments: object) -> str:
        command = ["--config", tiny_config, "--out", tmp_path / "out", "--seeds", 1, *arguments]
        monkeypatch.setattr(sys, "argv", ["attribute", *map(str, command)])
        tool.run(tool.main, tool.parser())
        return capsys.readouterr().out

    first = call("optim.momentum=0.8", "--swap", *PLAIN)
    written = (tmp_path / "out" / "attribution.json").read_text()
    lines = first.splitlines()
    assert lines[0].endswith("seed 0; 2 steps.") and lines[2] == "| variant, voc12 | mAP, % |"
    names = ["configured", "backbone.name=plain18", "backbone.name=plain18 less configured"]
    assert [line.split(" | ")[0][2:] for line in lines[4:7]] == names
    configs = [file.read_text() for file in (tmp_path / "out").glob("*/config.yaml")]
    assert len(configs) == 2 and all("momentum: 0.8" in text for text in configs)
    assert call("optim.momentum=0.8", "--resume", "--swap", *PLAIN) == first
    assert (tmp_path / "out" / "attribution.json").read_text() == written
    with pytest.raises(SystemExit) as left:
        call("--swap", "backbone.name=plain19")
    message = capsys.readouterr().err
    assert left.value.code == 2 and "plain18" in message and "Traceback" not in message
