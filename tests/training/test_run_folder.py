"""Run folders: who may write where, and what a continued run finds."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UserError
from training.config import dump_config
from training.run_folder import open_run, save_checkpoint
from training.schedule import ScheduleConfig


@dataclass(frozen=True)
class Processes:
    workers: int = 0


@dataclass(frozen=True)
class Options:
    x: int
    run: Processes = Processes()
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(total_steps=6))


def begin(path: Path, options: Options, *, resume: bool = False, overwrite: bool = False) -> dict | None:
    """Opens and begins a run, and gives the checkpoint that it goes on from."""
    with open_run(path, options, resume=resume, overwrite=overwrite) as folder:
        folder.begin(options)
        return folder.checkpoint


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.name != ".lock")


def test_a_new_run_needs_a_folder_of_its_own(tmp_path: Path):
    out = tmp_path / "a" / "b"
    assert begin(out, Options(1)) is None
    with pytest.raises(UserError, match="already holds a run; continue it with --resume"):
        begin(out, Options(1))
    assert (out / "config.yaml").read_text() == dump_config(Options(1))


def test_overwriting_removes_the_run_and_nothing_else(tmp_path: Path):
    begin(tmp_path / "run", Options(1))
    for name in ("metrics.jsonl", "result.json", "curves.png", "notes.txt"):
        (tmp_path / "run" / name).write_text("{}")
    for name in ("events", "batches", "validation"):
        (tmp_path / "run" / name).mkdir()
    begin(tmp_path / "run", Options(2), overwrite=True)
    assert names(tmp_path / "run") == ["config.yaml", "log.txt", "notes.txt"]
    assert (tmp_path / "run" / "config.yaml").read_text() == dump_config(Options(2))


def test_a_folder_that_is_no_run_is_never_touched(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="holds files but no run of ours; nothing was touched"):
            begin(tmp_path, Options(1), overwrite=overwrite)
    with pytest.raises(UserError, match="is a file, expected a folder"):
        begin(tmp_path / "thesis.tex", Options(1), overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_leftovers_of_killed_saves_are_no_obstacle(tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".config.yaml.x1").write_text("")  # killed while the very first file was written
    begin(run, Options(1))
    (run / ".checkpoint.pt.x2").write_text("half")
    begin(run, Options(1), resume=True)
    assert names(run) == ["config.yaml", "log.txt"]


def test_continuing_needs_a_run_of_the_same_configuration(tmp_path: Path):
    with pytest.raises(UserError, match="no run to continue in"):
        begin(tmp_path / "run", Options(1), resume=True)
    begin(tmp_path / "run", Options(1))
    with pytest.raises(UserError, match=r"x: 1 before, 2 now"):
        begin(tmp_path / "run", Options(2), resume=True)
    # The number of workers changes no figure, so it may change.
    changed = Options(1, Processes(workers=2))
    assert begin(tmp_path / "run", changed, resume=True) is None
    assert (tmp_path / "run" / "config.yaml").read_text() == dump_config(changed)


def test_a_run_of_an_earlier_release_lacks_options_that_came_since(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("x: 1\n")
    assert begin(tmp_path, Options(1), resume=True) is None
    assert (tmp_path / "config.yaml").read_text() == dump_config(Options(1))


def record_five_steps(path: Path) -> None:
    """A run with metrics of steps 1 to 5 and a checkpoint of step 3."""
    with open_run(path, Options(1)) as folder:
        folder.begin(Options(1))
        for step in range(1, 6):
            folder.record(step, {"loss": step / 2, "score": None}, pictures_per_second=3.0)
            if step == 3:
                folder.save_checkpoint({"step": 3})


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


THREE_STEPS = [{"step": step, "loss": step / 2, "score": None} for step in (1, 2, 3)]


def test_metrics_after_the_checkpoint_are_taken_again(tmp_path: Path):
    record_five_steps(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # killed while writing
    assert begin(tmp_path, Options(1), resume=True) == {"step": 3, "metrics_lines": 3}
    assert lines_of(tmp_path) == THREE_STEPS
    assert list((tmp_path / "events").iterdir())


def test_lines_of_the_checkpoints_own_step_stay_only_if_it_knew_them(tmp_path: Path):
    # It was written before the evaluation of its step, which is to be made again.
    with open_run(tmp_path, Options(1)) as folder:
        folder.begin(Options(1))
        folder.record(2, {"loss": 1.0})
        folder.save_checkpoint({"step": 2})
        folder.record(2, {"val/error": 50.0})
    begin(tmp_path, Options(1), resume=True)
    assert lines_of(tmp_path) == [{"step": 2, "loss": 1.0}]


def test_checkpoints_of_the_first_release_count_no_lines(tmp_path: Path):
    record_five_steps(tmp_path)
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 4})
    begin(tmp_path, Options(1), resume=True)
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2, 3, 4]


@pytest.mark.parametrize("damage", [b"\0\0\0\0\n", b'{"step": 2, "loss"\n', b"[1]\n", b"\xff\n"])
def test_damaged_lines_do_not_stop_a_run_with_a_whole_checkpoint(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
):
    record_five_steps(tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_bytes(b"".join([lines[0], damage, *lines[2:]]))
    begin(tmp_path, Options(1), resume=True)
    assert lines_of(tmp_path) == [THREE_STEPS[0], THREE_STEPS[2]]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        f"{tmp_path / 'metrics.jsonl'}: 1 of 3 lines are damaged or gone; going on without them"
    ]


def test_result_is_found_again(tmp_path: Path):
    with open_run(tmp_path, Options(1)) as folder:
        folder.begin(Options(1))
        folder.write_result({"scores": {"AP": 0.5}})
    with open_run(tmp_path, Options(1), resume=True) as folder:
        assert folder.result == {"scores": {"AP": 0.5}} and folder.checkpoint is None
    (tmp_path / "result.json").write_bytes(b'{"scores": \xff}')
    with pytest.raises(UserError, match=r"result\.json.*; remove it, and --resume makes it anew"):
        begin(tmp_path, Options(1), resume=True)
    (tmp_path / "config.yaml").write_bytes(b"x: \xff\n")
    with pytest.raises(UserError, match=r"config\.yaml"):
        begin(tmp_path, Options(1), resume=True)


def longer(steps: int, **schedule: Any) -> Options:
    return Options(1, schedule=ScheduleConfig(total_steps=steps, **schedule))


def test_an_ended_run_may_be_made_longer_where_no_rate_depends_on_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    record_five_steps(tmp_path)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(UserError, match=r"schedule.total_steps: 6 before, 5 now"):
        begin(tmp_path, longer(5), resume=True)
    assert (tmp_path / "result.json").exists()
    assert begin(tmp_path, longer(60), resume=True) == {"step": 3, "metrics_lines": 3}
    assert not (tmp_path / "result.json").exists()
    assert "schedule.total_steps 6 before, 60 now: learning rates are those of a run" in caplog.text


def test_a_cosine_depends_on_its_end(tmp_path: Path):
    begin(tmp_path, longer(6, kind="cosine"))
    with pytest.raises(UserError, match=r"schedule.total_steps: 6 before, 60 now"):
        begin(tmp_path, longer(60, kind="cosine"), resume=True)
