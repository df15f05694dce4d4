"""The command line all tools share. Imports the standard library only, so that --help answers at once."""

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import current_thread, main_thread
from typing import TypeVar

Item = TypeVar("Item")

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows the description with its own line breaks."""
    formatter = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=description, formatter_class=formatter)


def build_parser(description: str, *, config_default: str | None = None) -> argparse.ArgumentParser:
    """Parser of `[--config FILE] [--out DIR] [--resume | --overwrite] [key=value ...]`.

    The parsed attributes are `config` and `out` (Path or None), `resume`, `overwrite` and `overrides`.
    """
    parser = new_parser(description)
    default = None if config_default is None else Path(config_default)
    text = f"YAML configuration (default: {default})"
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

    Such errors carry an attribute `exit_status` (see `foundation.errors`); a full disk counts as one.
    """
    arguments = parser.parse_intermixed_args()
    _set_up_logging()
    try:
        main(arguments)
    except ValueError as error:
        status = getattr(error, "exit_status", None)
        if status is None:
            raise
        _leave(str(error), status)
    except OSError as error:
        if error.errno in DISK_FULL:
            remedy = "free some and continue with --resume" if hasattr(arguments, "resume") else "free some"
            where = f" while writing {error.filename}" if error.filename else ""
            _leave(f"no space left{where} ({error.strerror}); {remedy}", 2)
        if error.errno in NOT_ALLOWED and error.filename:
            _leave(f"{error.filename}: {error.strerror}; choose a place that can be written", 2)
        raise
    except KeyboardInterrupt:
        _leave("interrupted", 130)


def _leave(message: str, status: int) -> None:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)


class _LineHandler(logging.StreamHandler):
    """Plain lines on standard error that do not tear a progress bar apart."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        # One of several trainings at once says which.
        return line if record.threadName == "MainThread" else f"{record.threadName}: {line}"

    def emit(self, record: logging.LogRecord) -> None:
        # Only who shows a bar has imported tqdm.
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(self.format(record), file=self.stream)
        else:
            super().emit(record)


def _set_up_logging() -> None:
    # torchrun sets RANK; only the main process reports, the others warn.
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[_LineHandler(sys.stderr)])


def watched(
    items: Iterable[Item], count: int, *, start: int = 0, unit: str = "batch", title: str = ""
) -> Iterable[Item]:
    """The items, counted by a progress bar if this is the main thread of the main process, on a terminal.

    Args:
        count: how many there are, those before `start` included.
        start: how many were done before.
        title: stands before the bar.
    """
    from training.devices import is_main  # only here: it imports torch

    if not (is_main() and sys.stderr.isatty() and current_thread() is main_thread()):
        return items
    from tqdm import tqdm  # only here: its presence tells the log to write around a bar

    return tqdm(items, desc=title or None, initial=start, total=count, unit=unit, leave=False)
