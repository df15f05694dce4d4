"""log.txt of a run folder: all that the log says, each line with the time, and nothing but text."""

import logging
import threading
from collections import deque
from datetime import datetime
from pathlib import Path

from foundation.file_naming import printable

logger = logging.getLogger(__name__)

KEPT = 1000  # lines said before a run folder is opened


def stamped(text: str) -> list[str]:
    """The lines of a text, each with the local time before it; control characters in them stand escaped."""
    now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    return [f"{now}  {printable(line, keep='')}".rstrip() for line in text.split("\n")]


class EarlierLines(logging.Handler):
    """Remembers what is said before a run folder is there to keep it, such as warnings about the data."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[tuple[str, str]] = deque(maxlen=KEPT)  # with the name of the thread

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.extend((record.threadName or "", line) for line in stamped(self.format(record)))

    def take(self, thread: str) -> list[str]:
        """The lines of a thread, which are forgotten here."""
        self.acquire()
        try:
            mine = [line for name, line in self._lines if name == thread]
            others = [entry for entry in self._lines if entry[0] != thread]
            self._lines = deque(others, maxlen=KEPT)
            return mine
        finally:
            self.release()


EARLIER_LINES = EarlierLines()  # filled where a command line has set up the log


class RunLog(logging.Handler):
    """Writes what is logged to a file, from `attach` to `detach`; until `begin` it keeps the lines.

    Every line is written at once, so that a killed process loses none. Several trainings in the threads of a
    process have a log each: a thread's lines go to its own. A log that cannot be written ends with a warning;
    the training goes on.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._thread = threading.current_thread().name
        self._waiting: list[str] | None = []  # None once lines are written
        self._ended = False  # after a failure

    def attach(self) -> None:
        """Takes part in the log from now on, with what this thread said before."""
        self._waiting = EARLIER_LINES.take(self._thread)
        logging.getLogger().addHandler(self)

    def begin(self) -> None:
        """Appends to the file from now on, first what was kept."""
        lines, self._waiting = self._waiting or [], None
        if self.path.is_file() and not self.path.read_bytes().endswith(b"\n"):
            lines.insert(0, "")  # a power cut left a part of a line
        self._append(lines)

    def note(self, text: str) -> None:
        """Writes what only this file is told, if it has begun."""
        if self._waiting is None:
            self._append(stamped(text))

    def detach(self) -> None:
        """Takes no more part in the log."""
        logging.getLogger().removeHandler(self)
        EARLIER_LINES.take(self._thread)  # they are here

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is of the thread that opened this log, or of none that has one."""
        return self._thread in (record.threadName, threading.main_thread().name)

    def emit(self, record: logging.LogRecord) -> None:
        lines = stamped(self.format(record))
        if self._waiting is None:
            self._append(lines)
        else:
            self._waiting += lines

    def _append(self, lines: list[str]) -> None:
        if self._ended:
            return
        try:
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write("".join(f"{line}\n" for line in lines))
        except OSError as error:
            self._ended = True
            logger.warning("%s cannot be written any more (%s); the run goes on", self.path, error.strerror)
