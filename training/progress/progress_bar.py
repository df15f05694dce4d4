"""Progress bars, on a terminal and in the main thread of the main process only; the log writes above them."""

import sys
import time
from collections.abc import Callable, Iterable
from threading import current_thread, main_thread
from typing import TypeVar

from tqdm import tqdm

from training.devices import is_main

Item = TypeVar("Item")

DRAWN_SECONDS = 0.5  # between two drawings of a training's bar; the losses in it are read from the device
NO_TERMINAL_SIZE = 80  # columns, where a terminal does not say how many it has
BAR_COLUMNS = 18  # that the percentage and the bar itself take of a training's line

tqdm.monitor_interval = 0  # its thread redraws bars that wait for many items; ours wait for none


def shows_bars() -> bool:
    """Whether this thread may draw on the terminal: not where others train beside it, which have names."""
    alone = current_thread() is main_thread() and current_thread().name == "MainThread"
    return is_main() and sys.stderr.isatty() and alone


def watched(
    items: Iterable[Item], count: int | None, *, start: int = 0, unit: str = "batch", title: str = ""
) -> Iterable[Item]:
    """The items, counted by a progress bar where bars are shown.

    The outermost bar stays when it is done; one below another makes room again.

    Args:
        count: how many there are at most, those before `start` included; None where nobody knows.
        start: how many were done before.
        title: stands before the bar.
    """
    if not shows_bars():
        return items
    return tqdm(
        items,
        desc=title or None,
        initial=start,
        total=count,
        unit=unit,
        leave=None,
        miniters=1,
        dynamic_ncols=True,
    )


class TrainingBar:
    """The bar of a training: steps done, and whatever figures a callable gives in the columns that are left.

    Args:
        total: steps of the whole training.
        start: steps that were done before.
    """

    def __init__(self, total: int, start: int) -> None:
        self._bar = (
            tqdm(
                initial=start,
                total=total,
                bar_format="{percentage:3.0f}%|{bar:10}| {desc}",
                leave=True,
                dynamic_ncols=True,
            )
            if shows_bars()
            else None
        )
        self._drawn = time.perf_counter()

    def advance(self, steps: int, figures: Callable[[int], str]) -> None:
        """Counts steps; draws the bar if that is due.

        Args:
            figures: gives the text beside the bar, of at most so many columns.
        """
        if self._bar is None:
            return
        self._bar.n += steps
        if time.perf_counter() - self._drawn >= DRAWN_SECONDS or self._bar.n == self._bar.total:
            self.draw(figures)

    def draw(self, figures: Callable[[int], str]) -> None:
        """Draws the bar now."""
        if self._bar is None:
            return
        columns = self._bar.format_dict["ncols"] or NO_TERMINAL_SIZE
        self._bar.set_description_str(figures(columns - BAR_COLUMNS), refresh=False)
        self._bar.refresh()
        self._drawn = time.perf_counter()

    def close(self) -> None:
        """Leaves the bar as it was drawn last; what follows begins on a line of its own."""
        if self._bar is not None:
            self._bar.close()
