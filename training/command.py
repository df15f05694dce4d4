"""The command line all tools share. Imports nothing that is slow, so that --help answers at once."""

import argparse
import ctypes
import errno
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any, NoReturn

from foundation.file_naming import printable
from training.progress.run_log import EARLIER_LINES

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
FULL_COLLECTION = 1000  # collections of the generation before; Python's own is 10
WRONG_NAME = {errno.ENAMETOOLONG, errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.EILSEQ}


class Interrupted(KeyboardInterrupt):
    """A training that was asked to stop has been saved; the message says where."""


# torchrun passes on a Ctrl-C that the terminal has sent to all processes already: no second request.
SAME_REQUEST_SECONDS = 2.0
_requested: list[float] = []  # when Ctrl-C and SIGTERM came, by the monotonic clock


def _note_request(number: int, frame: object) -> None:
    now = time.monotonic()
    if _requested and now - _requested[0] >= SAME_REQUEST_SECONDS:
        raise KeyboardInterrupt
    if not _requested and os.environ.get("RANK", "0") == "0":
        # Not through logging, which may be at work in the very line that the signal interrupts.
        clear = b"\r\x1b[K" if os.isatty(2) else b""  # of a bar, which is drawn again below
        os.write(2, clear + b"stopping when the step at hand is saved; once more to stop at once\n")
    _requested.append(now)


@contextmanager
def stop_requests() -> Iterator[None]:
    """Within the block Ctrl-C and SIGTERM only make `stop_requested` true; a second one ends it at once.

    Only the main thread receives signals. Other threads see what it noted, in a block of its own around them.
    """
    if current_thread() is not main_thread():
        yield
        return
    _requested.clear()
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, _note_request) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def stop_requested() -> bool:
    """Whether Ctrl-C or SIGTERM has come since the last `stop_requests` began."""
    return bool(_requested)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


class _ListKeys(argparse.Action):
    """Prints the keys of a configuration, and ends the command, whatever else it needs."""

    def __init__(self, *arguments: Any, schema: str, **options: Any) -> None:
        # Suppressed, so that the command itself gets no argument of this name.
        super().__init__(*arguments, **{**options, "default": argparse.SUPPRESS})
        self.schema = schema

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        from foundation.errors import UserError
        from foundation.option_listing import describe_keys

        module, _, name = self.schema.partition(":")
        try:
            say(describe_keys(getattr(import_module(module), name), given[1] or ""))
        except UserError as error:
            parser.exit(2, f"error: {printable(str(error))}\n")
        parser.exit()


def new_parser(description: str | None, *, keys: str | None = None) -> argparse.ArgumentParser:
    """A parser whose help shows the description with its own line breaks.

    Args:
        keys: "module:Class" of the configuration whose keys the command takes; `--keys` then lists them.
    """
    parser = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if keys is not None:
        text = """list the configuration's keys with type, default and meaning, and do nothing else; PATTERN
            is a part of a name, or as schedule.*"""
        action: Any = partial(_ListKeys, schema=keys)
        parser.add_argument("--keys", nargs="?", metavar="PATTERN", action=action, help=text)
    return parser


def say(text: object, end: str = "\n") -> None:
    """Prints to standard output what holds names from data: control characters in it stand escaped.

    Ends the command quietly where nobody reads any more, as behind `| head`.
    """
    try:
        print(printable(str(text)), end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python would fail again when it flushes at the end
        sys.exit(128 + signal.SIGPIPE)


def build_parser(
    description: str, *, keys: str | None = None, config_default: str | None = None
) -> argparse.ArgumentParser:
    """Parser of `[--config FILE] [--out DIR] [--resume | --overwrite] [key=value ...]`.

    The parsed attributes are `config` and `out` (Path or None), `resume`, `overwrite` and `overrides`; `keys`
    is as in `new_parser`.
    """
    parser = new_parser(description, keys=keys)
    default = None if config_default is None else Path(config_default)
    text = "YAML configuration" + (f" (default: {default})" if default else "")
    parser.add_argument("--config", type=Path, metavar="FILE", default=default, help=text)
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder to write")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue the run in the folder")
    existing.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    text = "configuration values, for instance optim.lr=0.02"
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=text)
    return parser


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parses the command line, calls `main` and turns errors that are the user's to fix into exit status 2.

    Such errors carry an attribute `exit_status` (see `foundation.errors`); a full disk counts as one. SIGTERM
    ends a command as Ctrl-C does, so that nothing half written is left behind.
    """
    arguments = parser.parse_intermixed_args()
    set_up_process()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    resumable = hasattr(arguments, "resume")
    try:
        main(arguments)
        return
    except KeyboardInterrupt as error:
        remedy = "; continue with --resume" if resumable else "; to go on, run the command again"
        message, status = f"{str(error) or 'interrupted'}{remedy}", 130
    except Exception as error:
        known = _explain(error, "free some and continue with --resume" if resumable else "free some")
        if known is None:
            raise
        message, status = known, getattr(error, "exit_status", 2)
    # Out here nothing refers to the error any more, nor to what was under way, such as loaders of pictures.
    sys.stdout.flush()
    print(f"error: {printable(message)}", file=sys.stderr, flush=True)
    sys.exit(status)


def set_up_process() -> None:
    """What every process of a command begins with that is started anew, not forked."""
    # Modules are no garbage, but each full collection looks through all that are imported by then: together
    # a third of the time that importing takes. Young objects are collected as ever.
    gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTION)
    keep_freed_memory()
    set_up_logging()


def keep_freed_memory() -> None:
    """Lets this process keep the memory that tensors free, for the next batch; does nothing without glibc.

    By default glibc gives large blocks back to the system, which clears them page by page for the next
    batch. A process that keeps them stays at its highest use until it ends.
    """
    change = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if change is not None:
        change(M_MMAP_MAX, 0)  # large blocks come from the heap as well, which is kept
        change(M_TRIM_THRESHOLD, -1)  # and whose end is never given back


def _explain(error: Exception, free_some: str) -> str | None:
    """What to say of an error in one line, None if it is not the user's to fix."""
    reason = (str(error).splitlines() or [""])[0]
    if hasattr(error, "exit_status"):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        where = f" while writing {error.filename}" if error.filename else ""
        return f"no space left{where} ({error.strerror}); {free_some}"
    if isinstance(error, OSError) and error.errno in NOT_ALLOWED and error.filename:
        return f"{error.filename}: {error.strerror}; choose a place that can be written"
    if isinstance(error, OSError) and error.errno in WRONG_NAME and error.filename:
        return f"{error.filename}: {error.strerror}; check the path"
    # Raised by torch's signal handler, wherever the program is.
    if isinstance(error, RuntimeError) and reason.startswith("DataLoader worker"):
        ended = f"a process that reads pictures has died ({reason.strip()}), most often for want of memory"
        return f"{ended}; {free_some}, or lower run.workers"
    # The names are torch's, of a GPU's memory and the host's; torch is not imported here.
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "can't allocate" in reason:
        return f"out of memory ({reason or 'of the host'}); {free_some}, or take smaller batches or pictures"
    return None


class _LineHandler(logging.StreamHandler):
    """Plain lines on standard error that do not tear a progress bar apart."""

    def format(self, record: logging.LogRecord) -> str:
        line = printable(super().format(record))
        # One of several trainings at once says which.
        return line if record.threadName == "MainThread" else f"{record.threadName}: {line}"

    def emit(self, record: logging.LogRecord) -> None:
        # Only who shows a bar has imported tqdm. Text and line break go in one call: between two of them
        # torch's signal handler may raise that a worker has died, and that would be said on the same line.
        if "tqdm" in sys.modules:
            line = self.format(record) + self.terminator
            sys.modules["tqdm"].tqdm.write(line, file=self.stream, end="")
        else:
            super().emit(record)


def set_up_logging() -> None:
    """Lines of the log on standard error; called once in a process."""
    # torchrun sets RANK; only the main process reports, the others warn.
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    if not logging.getLogger().handlers:
        logging.captureWarnings(True)  # Python's own way writes into a bar, and not into a run's log.txt
    handlers = [_LineHandler(sys.stderr), EARLIER_LINES]
    logging.basicConfig(level=level, format="%(message)s", handlers=handlers)
    for name in ("onnxscript", "onnx_ir"):  # they tell every step of an export
        logging.getLogger(name).setLevel(logging.WARNING)
