"""Speed beside the peers: both in one process, in turn, several rounds; medians of each and of the ratio.

A ratio above 1 means we are faster. Timings never decide a test.
"""

import io
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from backbones import create_model
from detection.evaluate import coco_ap, voc_ap
from detection.evaluate.records import to_coco_annotations
from detection.types import Prediction, Target
from engine.blocks import compile_blocks
from engine.device import emulates_bf16
from reproduction.backbone_speed import Call, host_networks, memory_table, speed_calls
from reproduction.cifar_speed import cifar_calls, recompute_table
from reproduction.detector_speed import detection_calls, detector_memory
from reproduction.picture_speed import picture_calls, pixel_errors


@dataclass(frozen=True)
class Timing:
    """One line of the table, seconds."""

    name: str
    ours: float
    peer: float
    ratio: float

    def line(self) -> str:
        """As a row of a Markdown table."""
        return f"| {self.name} | {1e3 * self.ours:.0f} | {1e3 * self.peer:.0f} | {self.ratio:.2f} |"


def compare(name: str, ours: Call, peer: Call, rounds: int) -> Timing:
    """Runs both in turn; one warm-up each. The ratio is the median of the rounds' ratios, peer over ours."""
    ours(), peer()
    pairs = [(_seconds(ours), _seconds(peer)) for _ in range(rounds)]
    mine, theirs = zip(*pairs, strict=True)
    ratio = statistics.median(b / a for a, b in pairs)
    return Timing(name, statistics.median(mine), statistics.median(theirs), ratio)


def _seconds(call: Call) -> float:
    _wait()
    start = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def classification_calls(device: str, bf16: bool) -> Iterator[tuple[str, Call, Call]]:
    """ResNet-50, pictures of 224 pixels, channels_last for all: a training step and inference.

    On a GPU batches of 128 and all compiled, ours by blocks, the peers as they are; on a CPU 8 and eager.
    """
    batch = 128 if device == "cuda" else 8
    images = torch.randn(batch, 3, 224, 224, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(1000, (batch,), device=device)
    ours, peers = create_model("resnet50"), host_networks("resnet50")
    for network in (ours, *peers.values()):
        network.to(device)
        network.to(memory_format=torch.channels_last)
    if device == "cuda":
        compile_blocks(ours)
        for peer in peers.values():
            peer.compile()
    how = f"{'bf16' if bf16 else 'fp32'}{', compiled' if device == 'cuda' else ''}"

    def step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        network.train()
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def infer(network: nn.Module) -> None:
        network.eval()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            network(images)

    def training(network: nn.Module) -> Call:
        return partial(step, network, torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9))

    for name, peer in peers.items():
        yield f"ResNet-50 training step, {how} (peer: {name})", training(ours), training(peer)
        yield f"ResNet-50 inference, {how} (peer: {name})", partial(infer, ours), partial(infer, peer)


def evaluation_calls(pictures: int, per_picture: int = 50) -> Iterator[tuple[str, Call, Call]]:
    """COCO bbox AP on generated boxes against pycocotools; VOC AP against its least work of like kind."""
    truth, found = random_boxes(pictures, per_picture)
    classes = [f"class {k}" for k in range(1, 21)]
    annotations = to_coco_annotations(truth, classes, list(range(1, 21)))
    records = [
        {"image_id": p.image_id, "category_id": int(k), "bbox": [x1, y1, x2 - x1, y2 - y1], "score": float(s)}
        for p in found
        for (x1, y1, x2, y2), k, s in zip(p.boxes.tolist(), p.labels, p.scores, strict=True)
    ]
    size = f"{pictures} pictures, {pictures * per_picture} detections"
    yield (
        f"COCO bbox AP, {size}",
        lambda: coco_ap.evaluate(annotations, records),
        lambda: pycocotools_ap(annotations, records),
    )
    yield (
        f"VOC mAP (peer: pycocotools, IoU 0.5, one area range and limit), {size}",
        lambda: voc_ap.evaluate(found, truth, len(classes)),
        lambda: pycocotools_ap(annotations, records, only_ap50=True),
    )


def random_boxes(pictures: int, per_picture: int) -> tuple[list[Target], list[Prediction]]:
    """Seeded objects, 8 a picture, and detections scattered around them."""
    rng = np.random.default_rng(0)
    truth, found = [], []
    for number in range(1, pictures + 1):
        corner = rng.uniform(0, 400, (8, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 200, (8, 2))], axis=1)
        labels = rng.integers(1, 21, 8)
        chosen = rng.integers(0, 8, per_picture)
        near = boxes[chosen] + rng.normal(0, 8, (per_picture, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        truth.append(
            Target(
                torch.tensor(boxes, dtype=torch.float32),
                torch.tensor(labels),
                torch.zeros(8, dtype=torch.bool),
                image_id=number,
                size=(600, 600),
            )
        )
        scores = torch.tensor(rng.random(per_picture))
        found.append(
            Prediction(torch.tensor(near, dtype=torch.float32), torch.tensor(labels[chosen]), scores, number)
        )
    return truth, found


def pycocotools_ap(annotations: dict, records: list[dict], *, only_ap50: bool = False) -> NDArray[np.float64]:
    """The reference, start to end, with its printing swallowed.

    Returns:
        Precision (thresholds, 101 recalls, K, sizes, limits), -1 where there is nothing to find: ten
        thresholds, four sizes, three limits, or one of each.
    """
    with redirect_stdout(io.StringIO()):
        truth = COCO()
        # It writes into the entries, so it gets its own; the copies take about a hundredth of the time.
        objects = [dict(entry) for entry in annotations["annotations"]]
        truth.dataset = {**annotations, "annotations": objects}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([dict(record) for record in records]), "bbox")
        if only_ap50:
            evaluation.params.iouThrs = np.array([0.5])
            evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
            evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"]


def detector_part(device: str) -> Iterator[tuple[str, Call, Call]]:
    """Training steps and inference with everything around the network; bf16 where the device has it."""
    yield from classification_calls(device, bf16=False)
    if not emulates_bf16(torch.device(device)):
        yield from classification_calls(device, bf16=True)
    yield from detection_calls(device)


# What can be timed alone.
PARTS: dict[str, Callable[[str], Iterator[tuple[str, Call, Call]]]] = {
    "backbones": speed_calls,
    "cifar": cifar_calls,
    "detectors": detector_part,
    "evaluation": lambda device: evaluation_calls(pictures=1000),
    "pictures": picture_calls,
}


def benchmark(rounds: int, device: str, parts: Sequence[str] = tuple(PARTS)) -> str:
    """The tables in Markdown, with the machine they were measured on.

    Args:
        parts: of `PARTS`.
    """
    torch.manual_seed(0)
    rows = [
        compare(name, ours, peer, rounds).line() for part in parts for name, ours, peer in PARTS[part](device)
    ]
    machine = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    )
    return "\n".join(
        [
            f"{machine}; torch {torch.__version__}, torchvision {torchvision.__version__}; {rounds} rounds",
            "",
            "| what | ours, ms | peer, ms | peer / ours |",
            "|---|---|---|---|",
            *rows,
            *(["", *memory_table(device)] if "backbones" in parts else []),
            *(["", *detector_memory()] if "detectors" in parts and device == "cuda" else []),
            *(["", *recompute_table()] if "cifar" in parts else []),
            *(["", *pixel_errors()] if "pictures" in parts else []),
        ]
    )
