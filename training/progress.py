"""A progress bar where somebody watches."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from training.devices import is_main

Thing = TypeVar("Thing")


def watched(items: Iterable[Thing], count: int, *, unit: str = "batch", title: str = "") -> Iterable[Thing]:
    """The items, counted by a bar on a terminal, in the main process.

    Args:
        count: how many there are.
        title: stands before the bar.
    """
    if not (is_main() and sys.stderr.isatty()):
        return items
    from tqdm import tqdm  # only here: its presence tells the log to write around a bar

    return tqdm(items, desc=title or None, total=count, unit=unit, leave=False)
