"""One process works in a run folder at a time; what a process leaves behind when it dies locks nothing."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foundation.errors import UserError
from training.run_folder import LOCK, open_run
from training.schedule import ScheduleConfig

ROOT = Path(__file__).resolve().parents[2]
# Works in the folder until its input ends; with a child, as a loader has, which outlives it.
WORKER = """
import os, sys, time
from dataclasses import dataclass, field
from pathlib import Path
from training.run_folder import open_run
from training.schedule import ScheduleConfig

@dataclass(frozen=True)
class Options:
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(total_steps=6))

with open_run(Path(sys.argv[1]), Options()) as folder:
    folder.begin(Options())
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print("working", flush=True)
    sys.stdin.read()
"""


class Options:
    schedule = ScheduleConfig(total_steps=6)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen]]:
    """Starts another process that works in the folder "run"."""
    started = []

    def start() -> subprocess.Popen:
        command = [sys.executable, "-c", WORKER, str(tmp_path / "run")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
        started.append(subprocess.Popen(command, cwd=ROOT, text=True, **pipes))
        assert started[-1].stdout.readline() == "working\n"
        return started[-1]

    yield start
    for process in started:
        os.killpg(process.pid, 9)
        process.communicate()


def test_a_second_process_is_refused_until_the_first_has_died(
    tmp_path: Path, work: Callable[[], subprocess.Popen]
):
    first = work()
    for how in ({}, {"resume": True}, {"overwrite": True}):
        message = r"another process works in .*run; wait for its end"
        with pytest.raises(UserError, match=message), open_run(tmp_path / "run", Options(), **how):
            pytest.fail("two processes in one folder")
    first.kill()
    first.wait()
    with open_run(tmp_path / "run", Options(), overwrite=True) as folder:  # its child lives on
        assert not folder.resuming


def test_a_lock_file_that_nobody_holds_locks_nothing(tmp_path: Path):
    (tmp_path / LOCK).write_text("12345\n")
    with open_run(tmp_path, Options()) as folder:
        assert folder.checkpoint is None


def test_a_run_that_does_not_come_about_leaves_nothing(tmp_path: Path):
    with pytest.raises(UserError, match="no such weights"), open_run(tmp_path / "run", Options()):
        raise UserError("no such weights")
    assert not (tmp_path / "run").exists()
