"""log.txt: what the log says with the time, whole lines of plain text, and whose lines they are."""

import errno
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.progress import run_log
from training.progress.run_log import EARLIER_LINES, RunLog

ROOT = Path(__file__).resolve().parents[3]
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ")
logger = logging.getLogger("training.test")


@pytest.fixture(autouse=True)
def log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RunLog]:
    log = RunLog(tmp_path / "log.txt")
    log.attach()
    yield log
    log.detach()


def lines(path: Path) -> list[str]:
    """The lines without their stamps, which all must have."""
    text = path.read_text()
    assert text.endswith("\n")
    assert all(STAMP.match(f"{line}  ") for line in text.splitlines() if line)
    return [line[21:] for line in text.splitlines()]


def test_what_is_said_before_the_run_begins_is_kept_until_then(log: RunLog):
    logger.info("before")
    log.note("only for the file, which is not there yet")
    assert not log.path.exists()
    log.begin()
    logger.warning("after %d", 1)
    log.note("the end")
    assert lines(log.path) == ["before", "after 1", "the end"]
    log.detach()
    logger.info("too late")
    assert lines(log.path)[-1] == "the end"


def test_a_continued_run_appends_also_after_half_a_line(log: RunLog):
    log.path.write_text("2026-01-01 00:00:00  one\n2026-01-01 00:0")
    log.begin()
    logger.info("two")
    assert log.path.read_text().splitlines()[:2] == ["2026-01-01 00:00:00  one", "2026-01-01 00:0"]
    assert log.path.read_text().splitlines()[2][21:] == "two"


def test_each_line_has_its_stamp_and_no_control_character(log: RunLog):
    log.begin()
    # Not through a logger: what pytest captures of it could not be sent from one of its processes to another.
    said = {"msg": "a table\n  in\t%% \x1b[2J\r%s", "args": ("\udcff",), "levelno": logging.INFO}
    log.handle(logging.makeLogRecord(said))
    assert lines(log.path) == ["a table", "  in\\t% \\x1b[2J\\r\\udcff"]


def test_lines_are_in_the_file_at_once(tmp_path: Path):
    code = f"""
import logging, os
from pathlib import Path
from training.progress.run_log import RunLog
log = RunLog(Path({str(tmp_path)!r}, "log.txt"))
log.attach()
log.begin()
logging.getLogger().warning("said")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -9
    assert lines(tmp_path / "log.txt") == ["said"]


def test_trainings_in_threads_have_a_log_each(tmp_path: Path):
    def train(name: str) -> None:
        log = RunLog(tmp_path / name)
        log.attach()
        log.begin()
        logger.info("of %s", name)
        ready.wait()
        log.detach()

    ready = threading.Barrier(2)
    threads = [threading.Thread(target=train, args=(name,), name=name) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [lines(tmp_path / name) for name in ("one", "two")] == [["of one"], ["of two"]]


def test_what_a_command_said_before_the_folder_was_opened_comes_first(tmp_path: Path):
    logging.getLogger().addHandler(EARLIER_LINES)
    try:
        logger.info("the data are odd")
        for name in ("first", "second"):
            log = RunLog(tmp_path / name)
            log.attach()
            log.begin()
            logger.info("in %s", name)
            log.detach()
            logger.info("between")
    finally:
        logging.getLogger().removeHandler(EARLIER_LINES)
        EARLIER_LINES.take(threading.current_thread().name)
    assert lines(tmp_path / "first") == ["the data are odd", "in first"]
    assert lines(tmp_path / "second") == ["between", "in second"]


def test_a_log_that_cannot_be_written_ends_with_a_warning(
    log: RunLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    log.begin()

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_log.Path, "open", full)
    logger.info("lost")
    monkeypatch.undo()
    logger.info("also lost")
    warning = f"{log.path} cannot be written any more (No space left on device); the run goes on"
    assert sorted(caplog.messages) == sorted([warning, "lost", "also lost"])
    assert log.path.read_text() == ""
