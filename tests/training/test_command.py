"""What command lines accept, and with which status and message they end."""

import argparse
import errno
import gc
import io
import logging
import shlex
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foundation.errors import UserError
from training.command import build_parser, new_parser, run, say, set_up_logging

ROOT = Path(__file__).resolve().parents[2]
DISK = "No space left on device"
CONTINUE = "continue with --resume\n"
REMEDY = "free some and continue with --resume\n"


@pytest.fixture(autouse=True)
def settings_of_pytest() -> Iterator[None]:
    """Gives pytest its warnings and its garbage collection back, which a command has set for itself."""
    thresholds = gc.get_threshold()
    yield
    logging.captureWarnings(False)
    gc.set_threshold(*thresholds)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., argparse.Namespace]:
    """Runs a command line; gives what its `main` saw, after an error was raised in it if there is one."""

    def call(*arguments: str, error: BaseException | None = None) -> argparse.Namespace:
        seen: list[argparse.Namespace] = []

        def main(arguments: argparse.Namespace) -> None:
            seen.append(arguments)
            print("so far")
            if error is not None:
                raise error

        monkeypatch.setattr(sys, "argv", ["tool", *arguments])
        run(
            main,
            build_parser("A tool.", keys="tests.training.conftest:Config", config_default="configs/x.yaml"),
        )
        return seen[0]

    return call


class OtherError(ValueError):
    exit_status = 5


class Torn(io.StringIO):
    """A stream on which something always comes between two writes of text."""

    def write(self, text: str) -> int:
        return super().write(f"{text}|" if text else "")


@pytest.mark.parametrize("bars", [True, False])
def test_a_line_of_the_log_is_written_in_one_call(monkeypatch: pytest.MonkeyPatch, bars: bool):
    import tqdm

    if bars:
        monkeypatch.setitem(sys.modules, "tqdm", tqdm)
    else:
        monkeypatch.delitem(sys.modules, "tqdm")
    root, stream = logging.getLogger(), Torn()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(sys, "stderr", stream)
    set_up_logging()
    logging.getLogger("tool").info("step 4/500")
    logging.getLogger("tool").info("step 5/500")
    assert stream.getvalue() == "step 4/500\n|step 5/500\n|"


def test_what_is_imported_is_not_searched_for_garbage(monkeypatch: pytest.MonkeyPatch):
    full, young = [], []

    def main(arguments: argparse.Namespace) -> None:
        before = gc.get_stats()
        kept = [[] for _ in range(1_000_000)]  # about as many objects as the modules of a training have
        assert len(kept) == 1_000_000
        after = gc.get_stats()
        full.append(after[2]["collections"] - before[2]["collections"])
        young.append(after[0]["collections"] - before[0]["collections"])

    monkeypatch.setattr(sys, "argv", ["tool"])
    run(main, new_parser("A tool."))
    assert full == [0] and young[0] > 100


def test_defaults(call: Callable):
    expected = {"config": Path("configs/x.yaml"), "out": None, "resume": False, "overwrite": False}
    assert vars(call()) == {**expected, "overrides": []}


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.b=1", "c=2", "--out", "o", "--resume"],
        ["--out", "o", "--resume", "a.b=1", "c=2"],
        ["a.b=1", "--out", "o", "c=2", "--resume"],
    ],
)
def test_overrides_stand_anywhere(call: Callable, arguments: list[str]):
    seen = call(*arguments)
    assert (seen.overrides, seen.out, seen.resume) == (["a.b=1", "c=2"], Path("o"), True)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(["--resume", "--overwrite"], "not allowed with"), (["--outt", "o"], "unrecognized arguments: --outt")],
)
def test_wrong_options(call: Callable, capsys: pytest.CaptureFixture, arguments: list[str], part: str):
    with pytest.raises(SystemExit) as left:
        call(*arguments)
    assert left.value.code == 2 and part in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("lr is 7, expected less\n  lower it"), 2, "error: lr is 7, expected less\n  lower it\n"),
        (OtherError("five"), 5, "error: five\n"),
        (KeyboardInterrupt(), 130, f"error: interrupted; {CONTINUE}"),
        (
            OSError(errno.ENOSPC, DISK, "run/checkpoint.pt"),
            2,
            f"error: no space left while writing run/checkpoint.pt ({DISK}); {REMEDY}",
        ),
        (OSError(errno.EDQUOT, "Quota"), 2, f"error: no space left (Quota); {REMEDY}"),
        (UserError("a\x1b[2J\rb"), 2, "error: a\\x1b[2J\\rb\n"),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "/a/b"),
            2,
            "error: /a/b: File name too long; check the path\n",
        ),
        (
            OSError(errno.EROFS, "Read-only", "/a/b"),
            2,
            "error: /a/b: Read-only; choose a place that can be written\n",
        ),
    ],
)  # fmt: skip
def test_errors_of_the_user(
    call: Callable, capsys: pytest.CaptureFixture, error: BaseException, status: int, message: str
):
    with pytest.raises(SystemExit) as left:
        call(error=error)
    printed = capsys.readouterr()
    assert (left.value.code, printed.err, printed.out) == (status, message, "so far\n")


@pytest.mark.parametrize("error", [ValueError("ours"), OSError(errno.EACCES, "denied"), TypeError("ours")])
def test_other_errors_keep_their_traceback(call: Callable, error: Exception):
    with pytest.raises(type(error)) as raised:
        call(error=error)
    assert raised.value is error


def test_a_reader_that_has_seen_enough_is_no_fault():
    code = """
import argparse
from training.command import run, say
run(lambda arguments: say("line\\n" * 100_000), argparse.ArgumentParser())
"""
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} | head -1"
    ended = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("line\n", "")


@pytest.mark.parametrize(
    ("rank", "lines"), [(None, "said\nwarned\n"), ("0", "said\nwarned\n"), ("1", "warned\n")]
)
def test_only_the_main_process_reports(
    call: Callable,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    rank: str | None,
    lines: str,
):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    call()
    logging.getLogger("tool").info("said")
    logging.getLogger("tool").warning("warned")
    assert capsys.readouterr().err == lines


def test_warnings_are_lines_of_the_log(call: Callable, monkeypatch: pytest.MonkeyPatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    call()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("odd \x1b[2J", stacklevel=1)
    assert "UserWarning: odd \\x1b[2J" in capsys.readouterr().err


def test_steps_of_an_export_are_no_lines(call: Callable, monkeypatch: pytest.MonkeyPatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    call()
    logging.getLogger("onnx_ir.passes").info("Removed 2 unused nodes")
    logging.getLogger("onnxscript").warning("cannot export")
    assert capsys.readouterr().err == "cannot export\n"


def test_lines_of_other_threads_say_whose_they_are(call: Callable, monkeypatch: pytest.MonkeyPatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    call()
    thread = threading.Thread(target=lambda: logging.getLogger("tool").warning("%d %%", 5), name="seed1")
    thread.start()
    thread.join()
    logging.getLogger("tool").warning("main")
    assert capsys.readouterr().err == "seed1: 5 %\nmain\n"


def test_no_control_character_reaches_the_terminal(call: Callable, monkeypatch: pytest.MonkeyPatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    call()
    logging.getLogger("tool").warning("%s\nis there", "\x1b[2J")
    say("a\x07\udcff\n")
    with pytest.raises(SystemExit):
        call("--x\x1b[2J")
    printed = capsys.readouterr()
    assert printed.out == "so far\na\\x07\\udcff\n\n"
    assert printed.err.startswith("\\x1b[2J\nis there\n") and printed.err.endswith(" --x\\x1b[2J\n")


@pytest.mark.parametrize(
    ("pattern", "status", "message"),
    [
        (["log_every"], 0, "run.log_every  (integer; default 50)\n    steps between two reports"),
        (["run.log_evry"], 2, "error: no key fits 'run.log_evry'; did you mean 'run.log_every'?"),
    ],
)
def test_keys_are_listed_whatever_else_is_required(
    pattern: list[str],
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    parser = new_parser("A tool.", keys="tests.training.conftest:Config")
    parser.add_argument("--weights", required=True)
    monkeypatch.setattr(sys, "argv", ["tool", "--keys", *pattern])
    with pytest.raises(SystemExit) as left:
        run(lambda arguments: pytest.fail("begun"), parser)
    said = capsys.readouterr()
    assert left.value.code == status and message in (said.err if status else said.out)


def test_keys_are_no_argument_of_the_command(call: Callable):
    assert "keys" not in vars(call())
