"""The memory that tensors free: the same work in processes that keep it, as commands do, and that do not."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch

from backbones import create_model
from benchmarks.backbone_speed import Call, Pair
from benchmarks.detectors.detector_speed import contest, training_calls
from benchmarks.networks.classification_speed import noise, training_step
from benchmarks.networks.own_work import inference
from benchmarks.segmentation_speed import NETWORKS, step_calls
from training.command import keep_freed_memory


def answers_of_vgg() -> Call:
    """Inference of eight pictures."""
    return inference("vgg16", create_model("vgg16"), noise("cpu")[0]).call


def steps_of_resnet() -> Call:
    """A training step of eight pictures."""
    return training_step(create_model("resnet50").to(memory_format=torch.channels_last), *noise("cpu"))


def steps_of_c4() -> Call:
    """A training step of two pictures of 416x608."""
    both = contest("c4", "cpu")
    return partial(training_calls(both, nullcontext)[1], both.batch)


def step_of_segmenter(name: str, side: int) -> Call:
    """Forward and backward of two crops of 257: of ours, side 0, or of torchvision's, side 1."""
    return step_calls(name)[side]


# By the names of the rows: what a process does that keeps freed memory, and what one that gives it back.
WORKS: dict[str, tuple[Callable[[], Call], Callable[[], Call]]] = {
    "vgg16: inference (peer: freed memory goes back)": (answers_of_vgg,) * 2,
    "resnet50: training step (peer: freed memory goes back)": (steps_of_resnet,) * 2,
    "Faster R-CNN C4: training step (peer: freed memory goes back)": (steps_of_c4,) * 2,
} | {
    f"{name}: forward and backward (peer: torchvision's, freed memory goes back)": (
        partial(step_of_segmenter, name, 0),
        partial(step_of_segmenter, name, 1),
    )
    for name in NETWORKS
}


def memory_calls() -> Iterator[Pair]:
    """The rows of `WORKS`."""
    for name, works in WORKS.items():
        ours, peer = (Worker(work, keeps=not other) for other, work in enumerate(works))
        yield name, ours, peer
        ours.end()
        peer.end()


class Worker:
    """A process of its own that does its work when it is called.

    Args:
        prepare: gives the work, in that process.
        keeps: whether the process keeps the memory that tensors free.
    """

    def __init__(self, prepare: Callable[[], Call], *, keeps: bool) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, prepare, keeps), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()

    def __call__(self) -> None:
        """Does the work once, and returns when it is done."""
        self._connection.send(True)
        self._connection.recv()

    def end(self) -> None:
        """Ends the process."""
        self._connection.send(False)
        self._process.join()


def _serve(connection: Connection, prepare: Callable[[], Call], keeps: bool) -> None:
    if keeps:
        keep_freed_memory()
    work = prepare()
    connection.send(None)
    while connection.recv():
        work()
        connection.send(None)
