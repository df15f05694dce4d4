"""A whole training as it is seen on a terminal: no line torn, the bar at 100 %, and log.txt says the same."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

COLUMNS = 300  # wider than any line, so that none wraps
SECONDS = 600  # a slow machine's
FIGURES = r"step \d+/12  epoch 0\.\d\d  loss [\d.]+  top1_error [\d.]+  lr [\d.e-]+  [\d.]+ pictures/s  ETA "
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ")


def record(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """What a command writes to a terminal, which must end well."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=its, stdout=its, stderr=its)
    os.close(its)
    written = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while True:
            try:
                written += (part := terminal.read(65536))
            except OSError:  # Linux's way to say that nobody has the terminal open any more
                break
            if not part:
                break
    text = written.decode()
    assert process.wait(SECONDS) == 0, text
    return text


def screen(written: str) -> list[str]:
    """The lines that a terminal shows of what was written to it, the empty ones left out."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[A-Z]|[\r\n]|[^\r\n\x1b]+", written):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[A":
            row -= 1
        elif part == "\x1b[K":
            lines[row] = lines[row][:column]
        else:
            assert "\x1b" not in part
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]


def test_the_screen_of_these_tests():
    assert screen("one\r\ntwo\x1b[A\r2\n\rtw\x1b[K\r\nabc\r  \r") == ["2ne", "tw", "  c"]


@pytest.fixture
def environment(data_folder: Path, root: Path) -> dict[str, str]:
    return {**os.environ, "DATA_ROOT": str(data_folder), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}


def test_a_training_on_a_terminal(
    root: Path, tmp_path: Path, tiny_classifier: list[str], environment: dict[str, str]
):
    command = [sys.executable, str(root / "tools" / "pretrain.py"), "--out", str(tmp_path / "run")]
    written = record([*command, *tiny_classifier], root, environment)
    logged = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert all(STAMP.match(line) and line.isprintable() for line in logged)
    shown, said = screen(written), [line[21:] for line in logged]

    bars = [line for line in shown if "%|" in line]
    assert [line.partition("|")[0].strip() for line in bars] == ["reading validation pictures: 100%", "100%"]
    assert bars[-1].startswith("100%|██████████| step 12/12  loss ")
    assert "  ETA 0:00:00  " in bars[-1]
    assert "evaluation: " in written  # of which none is left
    # Every other line is whole, in its order, and the same in the file.
    assert [line for line in shown if line not in bars] == said

    reports = [line for line in said if line.startswith("step ") and "pictures/s" in line]
    assert len(reports) == 12
    assert all(re.match(FIGURES, line) and line.endswith(" GB") for line in reports)
    assert [line.split(":")[0] for line in said if line.startswith("evaluation at")] == [
        "evaluation at step 6/12, epoch 0.03",
        "evaluation at step 12/12, epoch 0.06",
    ]


def test_a_training_without_a_terminal_writes_lines_alone(
    root: Path, tmp_path: Path, tiny_classifier: list[str], environment: dict[str, str]
):
    command = [sys.executable, str(root / "tools" / "pretrain.py"), "--out", str(tmp_path / "run")]
    ended = subprocess.run(
        [*command, *tiny_classifier], cwd=root, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0 and ended.stdout == "", ended.stderr
    logged = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert ended.stderr.splitlines() == [line[21:] for line in logged]
