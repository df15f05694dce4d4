"""Speed beside the peers: both in one process, in turn, several rounds; medians of each and of the ratio.

A ratio above 1 means we are faster. Timings never decide a test.
"""

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torchvision
from torch import nn

from backbones import create_model
from benchmarks.analysis_speed import analysis_calls
from benchmarks.annotation_speed import annotation_calls, opening_line
from benchmarks.backbone_speed import Call, Pair, host_networks, memory_table, speed_calls
from benchmarks.cifar_speed import cifar_calls, recompute_table
from benchmarks.detectors.detector_speed import detection_calls, detector_memory
from benchmarks.detectors.localization_speed import localization_calls, localization_memory
from benchmarks.detectors.switch_speed import switch_calls, switch_memory
from benchmarks.evaluation_speed import evaluation_calls
from benchmarks.inference_speed import inference_calls
from benchmarks.picture_speed import picture_calls, pixel_errors
from benchmarks.segmentation_speed import segmentation_calls
from benchmarks.start_speed import start_calls
from reproduction.tables import markdown_table
from training.compile import compile_blocks
from training.devices import emulates_bf16


class Timing(NamedTuple):
    """One line of the table, seconds."""

    name: str
    ours: float
    peer: float
    ratio: float

    def cells(self) -> list[str]:
        """A row of the table, milliseconds."""
        times = [f"{1e3 * t:.0f}" if t >= 0.1 else f"{1e3 * t:.1f}" for t in (self.ours, self.peer)]
        return [self.name, *times, f"{self.ratio:.2f}"]


def compare(name: str, ours: Call, peer: Call, rounds: int) -> Timing:
    """Runs both in turn; one warm-up each. The ratio is the median of the rounds' ratios, peer over ours."""
    ours(), peer()
    pairs = [(_seconds(ours), _seconds(peer)) for _ in range(rounds)]
    mine, theirs = zip(*pairs, strict=True)
    ratio = statistics.median(b / a for a, b in pairs)
    return Timing(name, statistics.median(mine), statistics.median(theirs), ratio)


def _seconds(call: Call) -> float:
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def classification_calls(device: str, bf16: bool) -> Iterator[Pair]:
    """ResNet-50, pictures of 224 pixels, channels_last for all: a training step and inference.

    On a GPU batches of 128 and all compiled, ours by blocks, the peers as they are; on a CPU 8 and eager.
    """
    batch = 128 if device == "cuda" else 8
    images = torch.randn(batch, 3, 224, 224, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(1000, (batch,), device=device)
    ours, peers = create_model("resnet50"), host_networks("resnet50")
    for network in (ours, *peers.values()):
        network.to(device).to(memory_format=torch.channels_last)
    if device == "cuda":
        compile_blocks(ours)
        for peer in peers.values():
            peer.compile()

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

    how = f"{'bf16' if bf16 else 'fp32'}{', compiled' if device == 'cuda' else ''}"
    for name, peer in peers.items():
        yield f"ResNet-50 training step, {how} (peer: {name})", training(ours), training(peer)
        yield f"ResNet-50 inference, {how} (peer: {name})", partial(infer, ours), partial(infer, peer)


def classification_part(device: str) -> Iterator[Pair]:
    """Training steps and inference with everything around the network; bf16 where the device has it."""
    yield from classification_calls(device, bf16=False)
    if not emulates_bf16(torch.device(device)):
        yield from classification_calls(device, bf16=True)


# What can be timed alone.
PARTS: dict[str, Callable[[str], Iterator[Pair]]] = {
    "analysis": analysis_calls,
    "annotations": lambda device: annotation_calls(),
    "appendix_b": switch_calls,
    "backbones": speed_calls,
    "cifar": cifar_calls,
    "classification": classification_part,
    "detectors": detection_calls,
    "evaluation": lambda device: evaluation_calls(),
    "inference": lambda device: inference_calls(),
    "localization": localization_calls,
    "pictures": picture_calls,
    "segmentation": segmentation_calls,
    "start": lambda device: start_calls(),
}


def benchmark(rounds: int, device: str, parts: Sequence[str] = tuple(PARTS)) -> str:
    """The tables of these `PARTS` in Markdown, with the machine they were measured on."""
    torch.manual_seed(0)
    rows = [
        compare(name, ours, peer, rounds).cells()
        for part in parts
        for name, ours, peer in PARTS[part](device)
    ]
    cpu = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    machine = torch.cuda.get_device_name() if device == "cuda" else cpu
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    found = [
        f"{machine}; {versions}; {rounds} rounds",
        markdown_table(["what", "ours, ms", "peer, ms", "peer / ours"], rows),
        *([opening_line()] if "annotations" in parts else []),
        *([memory_table(device)] if "backbones" in parts else []),
        *([detector_memory()] if "detectors" in parts and device == "cuda" else []),
        *([switch_memory(device)] if "appendix_b" in parts else []),
        *([localization_memory(device)] if "localization" in parts else []),
        *([recompute_table()] if "cifar" in parts else []),
        *(["\n".join(pixel_errors())] if "pictures" in parts else []),
    ]
    return "\n\n".join(found)
