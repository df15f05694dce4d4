"""When the pictures of a training are drawn, and what becomes of the training if one cannot be."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TypeVar

from PIL import Image

from foundation.atomic_files import make_folder, replace_atomically
from pictures.run_pictures.run_curves import draw_curves

logger = logging.getLogger(__name__)
BATCHES = 3  # that are drawn at the start
# Of a training's time, what pictures after evaluations may take; one that would take more is left out.
SHARE = 0.01
JPEG_QUALITY = 90
_ONE_AT_A_TIME = Lock()  # of several trainings in one process: matplotlib is not made for threads

Batch = TypeVar("Batch")


class RunPictures:
    """Draws the pictures of one training into its folder, in the main process.

    At the start its labels and first batches. Then curves and validation pictures: after the first
    evaluation, after the others as long as all pictures together take SHARE of the time or less, and at the
    end.

    A picture that cannot be drawn, for whatever reason, is told in the log, and the training goes on: it has
    lost nothing but that picture.
    """

    def __init__(self, out: Path, draw_validation: Callable[[Path], None]) -> None:
        """Nothing is drawn yet.

        Args:
            out: the run folder.
            draw_validation: draws what the last evaluation found into a folder.
        """
        self.out, self._draw_validation = out, draw_validation
        self._began, self._spent, self._latest = time.monotonic(), 0.0, 0.0  # seconds
        self._drawn_size = -1  # bytes that metrics.jsonl had when curves were last drawn

    def of_start(
        self,
        batches: Iterable[Batch],
        draw_batch: Callable[[Batch], Image.Image],
        draw_labels: Callable[[Path], None],
    ) -> Iterator[Batch]:
        """The batches, unchanged; the first ones are drawn as they pass.

        Args:
            draw_labels: draws the statistics of the labels into labels.png of a folder.
        """
        with self._drawing("labels.png"):
            draw_labels(self.out)
        taken = iter(batches)
        for number, batch in enumerate(islice(taken, BATCHES), start=1):
            with self._drawing(f"training batch {number}"):
                save_picture(draw_batch(batch), self.out / "batches" / f"batch_{number}.jpg")
            yield batch
        yield from taken

    def draw(self, last: bool) -> None:
        """Draws what is new since the last time; what `training.run.Task.draw` is.

        Args:
            last: whether the training has ended. The log then says how long all pictures took.
        """
        metrics = self.out / "metrics.jsonl"
        size = metrics.stat().st_size if metrics.is_file() else 0
        costly = self._drawn_size >= 0 and self._spent + self._latest > SHARE * self._elapsed()
        if size != self._drawn_size and (last or not costly):
            self._draw_anew(metrics, size)
        if last:
            share = 100 * self._spent / max(self._elapsed(), 1e-3)
            logger.info("pictures of the run took %.1f s, %.1f %% of its time", self._spent, share)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _draw_anew(self, metrics: Path, size: int) -> None:
        self._drawn_size, before = size, self._spent
        with self._drawing("curves.png"):
            draw_curves(metrics, self.out / "curves")
        with self._drawing("validation pictures"):
            self._draw_validation(self.out / "validation")
        self._latest = self._spent - before

    @contextmanager
    def _drawing(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            with _ONE_AT_A_TIME:
                yield
        except Exception as error:  # of any kind: no training may end for the want of a picture
            logger.warning(
                "%s: no %s (%s: %s); the training goes on without, run.pictures=false draws none",
                *(self.out, what, type(error).__name__, error),
            )
        finally:
            self._spent += time.monotonic() - began


def handful(names: Iterable[object], number: int) -> list[int]:
    """Which pictures of a set are shown: those whose names have the smallest digests, so always the same."""
    digests = [hashlib.sha256(str(name).encode(errors="surrogateescape")).digest() for name in names]
    return sorted(range(len(digests)), key=digests.__getitem__)[:number]


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a JPEG file whole, with its folder."""
    make_folder(path.parent)
    with replace_atomically(path) as temporary:
        picture.convert("RGB").save(temporary, format="JPEG", quality=JPEG_QUALITY)
