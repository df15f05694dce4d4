"""The Makefile's commands exist and take the options and keys that it gives them."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from classification.config import PretrainConfig
from detection.config import DetectionConfig
from reproduction.published.paper import TABLES
from reproduction.runs import choose_rows, plan_runs
from training.config import load_config

SCHEMAS = {"pretrain": PretrainConfig, "transfer": DetectionConfig}
DEMOS = ["demo", "demo-full"]


def of_tools(commands: list[list[str]]) -> list[list[str]]:
    """The commands that call a tool, each from the tool's name on."""
    return [words[1:] for words in commands if len(words) > 1 and words[1].startswith("tools/")]


@pytest.mark.parametrize("target", [*DEMOS, "bench", "evidence"])
def test_tools_take_what_they_are_given(
    target: str, made: Callable, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(sys, "path", [*sys.path])  # a tool puts the repository first
    called = of_tools(made(target))
    assert called
    for file, *arguments in called:
        spec = importlib.util.spec_from_file_location(f"of_make_{Path(file).stem}", root / file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        read = module.parser().parse_intermixed_args(arguments)
        if schema := SCHEMAS.get(Path(file).stem):
            assert load_config(schema, read.config, read.overrides)
        if Path(file).stem == "reproduce":
            rows = choose_rows(TABLES[read.table].rows, read.rows)
            assert plan_runs(rows, read.seeds, tmp_path, read.overrides, read.together)


@pytest.mark.parametrize("target", DEMOS)
def test_a_demo_reads_what_it_has_written(target: str, made: Callable):
    written = [f"runs/{target}/data/"]
    for command in of_tools(made(target)):
        out = command[command.index("--out") + 1]
        read = [word for word in command if word.startswith("runs/") and word != out]
        assert [word for word in read if not word.startswith(tuple(written))] == []
        written.append(out)


@pytest.mark.parametrize("target", ["install", "test", "checks", "fuzz", *DEMOS, "bench", "evidence"])
def test_every_target_sets_itself_up(target: str, made: Callable, tmp_path: Path):
    """And installs the extra `dev` only for those who develop."""
    (packages,) = (words[-1] for words in made(target, f"VENV={tmp_path}/new") if "pip" in words)
    assert packages == ("." if target in DEMOS else ".[dev]")


def test_demo_and_tests_share_an_environment(made: Callable, tmp_path: Path):
    """The tests after a demo add what they need, and a demo after the tests adds nothing."""

    def installs(target: str) -> bool:
        return any("pip" in words for words in made(target, f"VENV={tmp_path}"))

    (tmp_path / ".plain").touch()
    assert not installs("demo") and installs("test")
    (tmp_path / ".developer").touch()
    assert not installs("demo") and not installs("test")
