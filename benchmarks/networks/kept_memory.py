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


WORKS: dict[str, Callable[[], Call]] = {
    "vgg16: inference": answers_of_vgg,
    "resnet50: training step": steps_of_resnet,
    "Faster R-CNN C4: training step": steps_of_c4,
}


def memory_calls() -> Iterator[Pair]:
    """Each of `WORKS` in a process that keeps freed memory, beside one with the C library's own way."""
    for name in WORKS:
        ours, peer = (Worker(name, keeps=keeps) for keeps in (True, False))
        yield f"{name} (peer: freed memory goes back)", ours, peer
        ours.end()
        peer.end()


class Worker:
    """A process of its own that does one of `WORKS` when it is called."""

    def __init__(self, name: str, *, keeps: bool) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, keeps), daemon=True)
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


def _serve(connection: Connection, name: str, keeps: bool) -> None:
    if keeps:
        keep_freed_memory()
    work = WORKS[name]()
    connection.send(None)
    while connection.recv():
        work()
        connection.send(None)
