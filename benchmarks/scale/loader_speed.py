"""Pictures a second of the training loaders, by the number of worker processes."""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.picture_speed import generate
from benchmarks.scale.small_runs import answer, small_run, start
from classification.data.data_sets import DataConfig
from classification.data.opened_splits import open_split
from detection.data.detection_batches import PreparedPictures, aspect_groups
from reproduction.tables import markdown_table
from training.command import say
from training.loader import BatchLoader, Item, TrainSampler

WORKERS = (0, 1, 2, 4, 8)
BATCH, PICTURES = 16, 1600  # of a batch; of all batches of a measurement
KINDS = ("classification", "detection")
Read = Callable[[list[Item]], Any]


def loader_table(folder: Path, workers: Sequence[int] = WORKERS, pictures: int = PICTURES) -> str:
    """JPEGs of 500x375 pixels to crops of 224 as for ImageNet, and Shapes with boxes; nothing is trained."""
    numbers = ",".join(map(str, workers))
    found = answer(start("benchmarks.scale.loader_speed", str(folder), numbers, str(pictures)))
    columns = [f"{kind}: {column}" for kind in KINDS for column in ("pictures/s", "processor ms a picture")]
    rows = [
        [str(count), *(cell for kind in KINDS for cell in _cells(*found[kind][row]))]
        for row, count in enumerate(workers)
    ]
    return markdown_table(["workers", *columns], rows)


def _cells(speed: float, cost: float) -> list[str]:
    return [f"{speed:.0f}", f"{1e3 * cost:.2f}"]


def measure(folder: Path, workers: Sequence[int], pictures: int) -> dict[str, list[tuple[float, float]]]:
    """(pictures/s, seconds of processor time a picture) for each number of workers, by the kind of set."""
    found: dict[str, list[tuple[float, float]]] = {}
    for kind, (read, sampler) in zip(
        KINDS, (classifier_batches(folder), detector_batches(folder)), strict=True
    ):
        batches = list(islice(sampler, max(1, pictures // BATCH)))
        read(batches[0])  # imports, and the files in the system's cache
        found[kind] = [loading(read, batches, count) for count in workers]
    return found


def loading(read: Read, batches: list[list[Item]], workers: int) -> tuple[float, float]:
    """Both costs of all these batches, with the start and the end of the workers."""
    pictures = sum(map(len, batches))
    start_of, used = time.perf_counter(), _processor_time()
    for _ in BatchLoader(read, batches, workers):
        pass
    return pictures / (time.perf_counter() - start_of), (_processor_time() - used) / pictures


def _processor_time() -> float:
    """Of this process and of those it started that have ended."""
    own, ended = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def classifier_batches(folder: Path, files: int = 60) -> tuple[Read, TrainSampler]:
    """Of JPEGs of two classes in ImageNet's layout, which are written to the folder."""
    for number in range(files):
        path = folder / f"imagenet/train/class{number % 2}/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(generate(number))
    config = DataConfig(kind="folder", root=str(folder / "imagenet"))
    pictures = open_split(config, training=True)
    return pictures.read, TrainSampler(len(pictures), BATCH, seed=0)


def detector_batches(folder: Path) -> tuple[Read, TrainSampler]:
    """Of Shapes in COCO's layout, pictures of 128 pixels."""
    run = small_run(folder, BATCH)
    dataset = run.training
    samples = PreparedPictures(dataset, run.config.data)
    return samples.read, TrainSampler(len(samples), BATCH, seed=0, groups=aspect_groups(dataset))


if __name__ == "__main__":
    place, counts, number = sys.argv[1:]
    say(json.dumps(measure(Path(place), list(map(int, counts.split(","))), int(number))))
