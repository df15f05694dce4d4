"""A detection table from the command line: planned, trained, scored, reported, cut off and gone on with."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reproduction import trainings
from reproduction.detectors import reproduce_detectors as module
from reproduction.detectors import row_evaluation

Tool = Callable[..., None]


@pytest.fixture
def tool(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tool:
    """Calls tools/reproduce.py in this process, with --out."""

    def call(*arguments: object) -> None:
        spec = importlib.util.spec_from_file_location("tool_reproduce", root / "tools" / "reproduce.py")
        assert spec is not None and spec.loader is not None
        tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tool)
        monkeypatch.setattr(sys, "argv", ["reproduce", *map(str, arguments), "--out", str(tmp_path / "out")])
        tool.run(tool.main, tool.parser())

    return call


def test_a_table_that_was_cut_off_goes_on(
    tool: Tool,
    tiny_config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    calls: list[str] = []
    killed = ["context_seed0"]
    train, score = trainings.finetune, row_evaluation.score_weights

    def noted_training(config: Any, out: Path, **options: Any) -> Any:
        calls.append(out.name)
        return train(config, out, **options)

    def noted_scoring(weights: Any, overrides: Any, out: Path) -> Any:
        calls.append(f"scored {out.name}")
        if out.name in killed:
            raise KeyboardInterrupt
        return score(weights, overrides, out)

    monkeypatch.setattr(trainings, "finetune", noted_training)
    monkeypatch.setattr(row_evaluation, "score_weights", noted_scoring)
    rows = ["--table", 9, "--rows", "baseline", "refinement", "context"]
    options = ["--seeds", 1, "--config", tiny_config]
    tool(*rows, *options, "--dry-run")
    assert "2 trainings: 0 complete, 0 to be resumed, 2 missing" in capsys.readouterr().out
    assert calls == [] and not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        tool(*rows, *options)
    assert calls == [
        *("tiny_seed0", "tiny_context_seed0", "scored baseline_seed0", "scored refinement_seed0"),
        "scored context_seed0",
    ]
    calls.clear()
    killed.clear()
    capsys.readouterr()
    tool(*rows, *options)
    assert calls == ["scored context_seed0"]  # all else is there
    printed = capsys.readouterr().out
    assert "2 trainings: 2 complete, 0 to be resumed, 0 missing. 3 evaluations: 2 complete, 1 mis" in printed
    assert "**Table 9.**" in printed and "| + box refinement | 49.90 / 29.90 |" in printed
    assert (tmp_path / "out" / "table9.md").read_text().strip() in printed
    written = json.loads((tmp_path / "out" / "table9.json").read_text())
    assert [row["key"] for row in written["rows"]] == ["baseline", "refinement", "context"]
    scored = json.loads((tmp_path / "out" / "table9" / "context_seed0" / "result.json").read_text())
    testing, detector = (scored["evaluated"]["config"][name] for name in ("testing", "detector"))
    assert testing["refine"] == 1 and detector["context"]
    trained = tmp_path / "out" / "table9" / "tiny_seed0"
    baseline = json.loads((tmp_path / "out" / "table9" / "baseline_seed0" / "result.json").read_text())
    assert baseline["scores"] == json.loads((trained / "result.json").read_text())["scores"]
    calls.clear()
    tool("--table", 9, "--only-report")
    assert calls == [] and "| ensemble of three |  | not run | 0 |" in capsys.readouterr().out


def test_several_at_once(tool: Tool, tiny_config: Path, monkeypatch: pytest.MonkeyPatch):
    groups = []
    monkeypatch.setattr(module, "train_all", lambda found, together: groups.append((len(found), together)))
    monkeypatch.setattr(module, "evaluate", lambda evaluation: None)
    rows = ["--table", 9, "--rows", "baseline", "context", "--seeds", 2, "--together", 3]
    tool(*rows, "--config", tiny_config)
    assert groups == [(4, 3)]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--table", "15"], ["no table '15' is held", "9"]),
        (["--table", "11"], ["Table 11", "evaluation server"]),
        (["--table", "9", "--rows", "contxt"], ["'contxt'", "did you mean 'context'"]),
        (["--table", "9", "--rows", "ensemble", "--seeds", "1"], ["ensemble needs 3 trainings"]),
        (["--table", "9", "--together", "0"], ["--together must be 1 or more, got 0"]),
        (["--table", "9", "--rows", "baseline", "optim.rate=1"], ["optim.rate: unknown key"]),
        (["--table", "9", "--only-report", "--config", "c.yaml"], ["--config c.yaml changes nothing"]),
        (["--table", "9", "--config", "none.yaml"], ["no configuration file at", "none.yaml"]),
        (["--table", "6", "--config", "c.yaml"], ["--config c.yaml belongs to the tables of detectors"]),
        (["--table", "9", "--figure", "6"], ["--table or --figure"]),
    ],
)
def test_bad_input(
    tool: Tool, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], parts: list[str]
):
    with pytest.raises(SystemExit) as left:
        tool(*arguments)
    message = capsys.readouterr().err
    assert left.value.code == 2 and "Traceback" not in message
    assert all(part in message for part in parts), message
    assert message.count("error: ") == 1 and not (tmp_path / "out").exists()
