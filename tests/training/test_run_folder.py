"""Run folders: who may write where, and what a continued run finds."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from foundation.errors import UserError
from training.run_folder import RunFolder


@dataclass(frozen=True)
class Processes:
    workers: int = 0


@dataclass(frozen=True)
class Options:
    x: int
    run: Processes = Processes()


def test_a_new_run_needs_a_folder_of_its_own(tmp_path: Path):
    out = tmp_path / "a" / "b"
    assert RunFolder(out).open(Options(1), resume=False, overwrite=False) is None
    with pytest.raises(UserError, match="already holds a run; continue it with --resume"):
        RunFolder(out).open(Options(1), resume=False, overwrite=False)
    assert (out / "config.yaml").read_text() == "x: 1\nrun:\n  workers: 0\n"


def test_overwriting_removes_the_run_and_nothing_else(tmp_path: Path):
    RunFolder(tmp_path / "run").open(Options(1), resume=False, overwrite=False)
    for name in ("metrics.jsonl", "result.json", "notes.txt"):
        (tmp_path / "run" / name).write_text("{}")
    RunFolder(tmp_path / "run").open(Options(2), resume=False, overwrite=True)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["config.yaml", "notes.txt"]
    assert (tmp_path / "run" / "config.yaml").read_text() == "x: 2\nrun:\n  workers: 0\n"


def test_a_folder_that_is_no_run_is_never_touched(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="holds files but no run of ours; nothing was touched"):
            RunFolder(tmp_path).open(Options(1), resume=False, overwrite=overwrite)
    with pytest.raises(UserError, match="is a file, expected a folder"):
        RunFolder(tmp_path / "thesis.tex").open(Options(1), resume=False, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_leftovers_of_killed_saves_are_no_obstacle(tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".config.yaml.x1").write_text("")  # killed while the very first file was written
    RunFolder(run).open(Options(1), resume=False, overwrite=False)
    (run / ".checkpoint.pt.x2").write_text("half")
    RunFolder(run).open(Options(1), resume=True, overwrite=False)
    assert [path.name for path in run.iterdir()] == ["config.yaml"]


def test_continuing_needs_a_run_of_the_same_configuration(tmp_path: Path):
    with pytest.raises(UserError, match="no run to continue in"):
        RunFolder(tmp_path / "run").open(Options(1), resume=True, overwrite=False)
    RunFolder(tmp_path / "run").open(Options(1), resume=False, overwrite=False)
    with pytest.raises(UserError, match=r"x: 1 before, 2 now"):
        RunFolder(tmp_path / "run").open(Options(2), resume=True, overwrite=False)
    # The number of workers changes no figure, so it may change.
    changed = Options(1, Processes(workers=2))
    assert RunFolder(tmp_path / "run").open(changed, resume=True, overwrite=False) is None
    assert (tmp_path / "run" / "config.yaml").read_text() == "x: 1\nrun:\n  workers: 2\n"


def test_a_run_of_an_earlier_release_lacks_options_that_came_since(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("x: 1\n")
    assert RunFolder(tmp_path).open(Options(1), resume=True, overwrite=False) is None
    assert (tmp_path / "config.yaml").read_text() == "x: 1\nrun:\n  workers: 0\n"


def test_metrics_after_the_checkpoint_are_taken_again(tmp_path: Path):
    folder = RunFolder(tmp_path / "run")
    folder.open(Options(1), resume=False, overwrite=False)
    for step in range(1, 6):
        folder.record(step, {"loss": step / 2, "score": None}, pictures_per_second=3.0)
    folder.save_checkpoint({"step": 3})
    folder.close()
    metrics = tmp_path / "run" / "metrics.jsonl"
    with metrics.open("a") as file:
        file.write('{"step": 6, "lo')  # killed while writing
    checkpoint = RunFolder(tmp_path / "run").open(Options(1), resume=True, overwrite=False)
    assert checkpoint == {"step": 3}
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert lines == [{"step": step, "loss": step / 2, "score": None} for step in (1, 2, 3)]
    assert list((tmp_path / "run" / "events").iterdir())


def test_result_is_read_back(tmp_path: Path):
    folder = RunFolder(tmp_path)
    assert folder.read_result() is None
    folder.write_result({"scores": {"AP": 0.5}})
    assert folder.read_result() == {"scores": {"AP": 0.5}}
