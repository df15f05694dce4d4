"""Speed beside the peers: both in one process, in turn, several rounds; medians of each and of the ratio.

A ratio above 1 means we are faster. Timings never decide a test.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from benchmarks.analysis_speed import analysis_calls
from benchmarks.annotation_speed import annotation_calls, opening_line
from benchmarks.backbone_speed import Pair, memory_table, speed_calls
from benchmarks.cifar_speed import cifar_calls, recompute_table
from benchmarks.detectors.detector_speed import detection_calls, detector_memory
from benchmarks.detectors.localization_speed import localization_calls, localization_memory
from benchmarks.detectors.switch_speed import switch_calls, switch_memory
from benchmarks.evaluation_speed import evaluation_calls
from benchmarks.inference_speed import inference_calls
from benchmarks.measuring.row_timing import compare
from benchmarks.measuring.speed_records import PartRecord
from benchmarks.networks.classification_speed import classification_calls
from benchmarks.networks.kept_memory import memory_calls
from benchmarks.networks.roofline import roofline_notes
from benchmarks.picture_speed import picture_calls, pixel_errors
from benchmarks.scale.scale_tables import scale_tables
from benchmarks.segmentation_speed import segmentation_calls
from benchmarks.start_speed import start_calls

logger = logging.getLogger(__name__)

# What can be timed alone: the rows of a table.
PARTS: dict[str, Callable[[str], Iterator[Pair]]] = {
    "analysis": analysis_calls,
    "annotations": lambda device: annotation_calls(),
    "appendix_b": switch_calls,
    "backbones": speed_calls,
    "cifar": cifar_calls,
    "classification": classification_calls,
    "detectors": detection_calls,
    "evaluation": lambda device: evaluation_calls(),
    "inference": lambda device: inference_calls(),
    "localization": localization_calls,
    "memory": lambda device: memory_calls(),
    "pictures": picture_calls,
    "roofline": lambda device: iter(()),
    "scale": lambda device: iter(()),
    "segmentation": segmentation_calls,
    "start": lambda device: start_calls(),
}
# What is measured besides, in Markdown after the table.
NOTES: dict[str, Callable[[str], Iterable[str]]] = {
    "annotations": lambda device: [opening_line()],
    "appendix_b": lambda device: [switch_memory(device)],
    "backbones": lambda device: [memory_table(device)],
    "cifar": lambda device: [recompute_table()],
    "detectors": lambda device: [detector_memory()] if device == "cuda" else [],
    "localization": lambda device: [localization_memory(device)],
    "pictures": lambda device: pixel_errors(),
    "roofline": lambda device: roofline_notes(),
    "scale": lambda device: [scale_tables()],
}


def benchmark(
    seconds: float, device: str, parts: Sequence[str] = tuple(PARTS)
) -> Iterator[tuple[str, PartRecord]]:
    """These `PARTS`, each with what it measured when it is done.

    Args:
        seconds: for the rounds of a row; `compare` says how they are spent.
    """
    for part in parts:
        torch.manual_seed(0)  # so that a part draws the same alone
        rows, begun, calling = [], time.perf_counter(), 0.0
        for name, ours, peer in PARTS[part](device):
            first = time.perf_counter()
            rows.append(compare(name, ours, peer, seconds))
            calling += time.perf_counter() - first
            logger.info("%s: %s: %s", part, name, rows[-1].cells()[3])
        set_up = time.perf_counter() - begun - calling
        notes = [*NOTES[part](device)] if part in NOTES else []
        yield part, PartRecord(rows, notes, set_up, time.perf_counter() - begun)
