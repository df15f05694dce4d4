"""What docs/reliability.md promises of runs, tried on real command lines; in full with RELIABILITY=full."""

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backbones import read_weights
from foundation.errors import UserError
from training.run_folder import last_checkpoint, load_checkpoint

FULL = os.environ.get("RELIABILITY") == "full"
FILES = ("metrics.jsonl", "result.json", "best.safetensors", "last.safetensors")


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def children(pid: int) -> list[int]:
    """The processes that a process has started, such as its loader's workers."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def read_until(process: Any, start: str) -> None:
    lines: list[str] = []
    while not (lines and lines[-1].startswith(start)):
        lines.append(process.stderr.readline())
        assert lines[-1], "".join(lines)


@pytest.fixture(scope="module")
def options(tiny_classifier: list[str]) -> list[str]:
    return [*tiny_classifier, "run.workers=0"]


@pytest.fixture(scope="module")
def whole(start: Callable, options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing has stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert start("pretrain", "--out", out, *options).wait() == 0
    return out


@pytest.mark.parametrize("count", [600 if FULL else 60])
@pytest.mark.parametrize("name", ["checkpoint.pt", "best.safetensors", "last.safetensors"])
def test_no_flipped_bit_is_silent(whole: Path, tmp_path: Path, name: str, count: int):
    read = load_checkpoint if name.endswith(".pt") else read_weights
    content, copy = (whole / name).read_bytes(), tmp_path / name
    copy.write_bytes(content)
    read(copy)
    for bit in random.Random(0).sample(range(8 * len(content)), count):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        copy.write_bytes(changed)
        with pytest.raises(UserError) as caught:
            read(copy)
        assert "\n" not in str(caught.value) and name in str(caught.value)


def kills(start: Callable, options: list[str], out: Path, wait: Callable[[Any], bool]) -> Iterator[int]:
    """Starts and continues a run until it ends, killed whenever `wait` says so; yields at each kill."""
    while not (out / "result.json").exists():
        resume = ["--resume"] if (out / "config.yaml").exists() else []
        process = start("pretrain", "--out", out, *resume, *options)
        if wait(process):
            process.kill()
            yield process.wait()
        else:
            assert process.wait() == 0


@pytest.mark.parametrize("count", [100 if FULL else 4])
def test_killed_at_random_moments(
    start: Callable, options: list[str], whole: Path, tmp_path: Path, count: int
):
    moments = random.Random(0)

    def wait(process: Any) -> bool:
        time.sleep(moments.uniform(0, 1.5))
        return True

    done = 0
    while done < count:
        out = tmp_path / f"run{done}"
        left = min(count - done, 10)  # of a run that is then left to end
        for killed, _ in zip(range(left), kills(start, options, out, wait), strict=False):
            done = done + 1 if killed >= 0 else done
        for _ in kills(start, options, out, lambda process: False):
            pass
        assert contents(out) == contents(whole)


@pytest.mark.parametrize("count", [40 if FULL else 4])
def test_killed_while_a_file_is_written(
    start: Callable, options: list[str], whole: Path, tmp_path: Path, count: int
):
    moments, done = random.Random(1), 0

    def wait(process: Any) -> bool:
        """Until the n-th temporary file from now appears."""
        seen: set[str] = set()
        number = moments.randint(1, 8)
        while len(seen) < number:
            if out.exists():
                seen |= {name for name in os.listdir(out) if name.startswith(".") and name != ".lock"}
            if (out / "result.json").exists():
                return False
        return True

    while done < count:
        out = tmp_path / f"run{done}"
        done += sum(
            1 for _ in zip(range(min(count - done, 10)), kills(start, options, out, wait), strict=False)
        )
        for _ in kills(start, options, out, lambda process: False):
            pass
        assert contents(out) == contents(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_may_reach_the_workers_too(
    start: Callable, options: list[str], whole: Path, tmp_path: Path, number: int
):
    out, options = tmp_path / "run", [*options, "run.workers=2"]
    process = start("pretrain", "--out", out, *options)
    read_until(process, "step 3/")
    for pid in (*children(process.pid), process.pid):
        os.kill(pid, number)
    read_until(process, "error: stopped after step ")
    assert process.wait() == 130
    step = last_checkpoint(out)["step"]
    assert 3 <= step < 12
    assert start("pretrain", "--out", out, "--resume", *options).wait() == 0
    assert contents(out)["metrics.jsonl"] == contents(whole)["metrics.jsonl"]


def test_a_killed_worker_is_named_in_one_line(start: Callable, options: list[str], tmp_path: Path):
    process = start(
        "pretrain", "--out", tmp_path / "run", *options, "run.workers=2", "schedule.total_steps=500"
    )
    read_until(process, "step 3/")
    os.kill(children(process.pid)[0], signal.SIGKILL)
    read_until(process, "error: a process that reads pictures has died (DataLoader worker")
    assert process.stderr.readline() == ""
    assert process.wait() == 2


def test_all_processes_stop_at_one_step(start: Callable, options: list[str], tmp_path: Path):
    out = tmp_path / "run"
    process = start("pretrain", "--out", out, *options, "schedule.total_steps=5000", processes=2)
    read_until(process, "step 3/")
    process.send_signal(signal.SIGTERM)
    # A process that had gone on alone would wait for the other for ever, and be killed without a word.
    _, said = process.communicate(timeout=60)
    assert said.count("error: stopped after step ") == 2
    stopped = set(
        re.findall(r"error: stopped after step (\d+), which is saved; continue with --resume", said)
    )
    assert stopped == {str(last_checkpoint(out)["step"])}
