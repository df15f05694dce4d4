"""How near our networks come to what this CPU can do: its rates in fp32, and the share of each work."""

import logging
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.backbone_speed import Call
from benchmarks.measuring.row_timing import seconds_of
from benchmarks.networks.own_work import own_work
from benchmarks.networks.time_profile import BETWEEN, KINDS, shares
from reproduction.tables import markdown_table

logger = logging.getLogger(__name__)

MATRIX = 2048  # rows and columns
COPIED = 2**28  # bytes, many times what caches hold
# Channels in and out, pixels of a side, and the kernel's, of convolutions in ResNet-50; 8 pictures.
CONVOLUTIONS = ((64, 64, 56, 3), (128, 128, 28, 3), (256, 256, 14, 3), (256, 64, 56, 1), (1024, 256, 14, 1))
REPEATS = 7
ROUNDS = 3  # of each work


@dataclass(frozen=True)
class Rates:
    """The best of several calls: GFLOP/s, a multiplication and its addition being two, and GB/s."""

    matrix: float
    convolution: float
    shape: str  # of that convolution
    copy: float  # read and written bytes together

    @property
    def peak(self) -> float:
        """The higher of both rates of arithmetic."""
        return max(self.matrix, self.convolution)

    def __str__(self) -> str:
        return (
            f"torch multiplies matrices of {MATRIX}² with {self.matrix:.0f} GFLOP/s and convolves with "
            f"{self.convolution:.0f} ({self.shape}), both in fp32. It copies {COPIED / 2**20:.0f} MiB with "
            f"{self.copy:.1f} GB/s, read and written bytes together: work of less than "
            f"{self.peak / self.copy:.0f} FLOP a byte waits for memory."
        )


def measured_rates() -> Rates:
    """Of the threads that torch has."""
    a, b = torch.randn(2, MATRIX, MATRIX)
    product = torch.empty_like(a)
    source = torch.ones(COPIED // 4)
    target = torch.empty_like(source)
    matrix = 2 * MATRIX**3 / _best(lambda: torch.mm(a, b, out=product)) / 1e9
    convolution, shape = max(_convolution(*shape) for shape in CONVOLUTIONS)
    return Rates(matrix, convolution, shape, 2 * COPIED / _best(lambda: target.copy_(source)) / 1e9)


def _convolution(channels: int, filters: int, side: int, kernel: int) -> tuple[float, str]:
    """GFLOP/s, and what was convolved."""
    layout = torch.channels_last
    images = torch.randn(8, channels, side, side).contiguous(memory_format=layout)
    weight = torch.randn(filters, channels, kernel, kernel).contiguous(memory_format=layout)
    work = 2 * filters * side**2 * 8 * channels * kernel**2
    with torch.inference_mode():
        rate = work / _best(lambda: F.conv2d(images, weight, padding=kernel // 2)) / 1e9
    return rate, f"{kernel}×{kernel}, {channels} to {filters} channels, 8 pictures of {side}²"


def _best(call: Call) -> float:
    call()
    return min(seconds_of(call) for _ in range(REPEATS))


def counted_work(call: Call) -> int:
    """FLOPs of the convolutions and products of matrices in a call, by torch: two for a multiply-add.

    oneDNN's product, which torch leaves out, counts as torch's own; oneDNN's fused convolutions do not count.
    """
    known = {torch.ops.mkldnn._linear_pointwise: _work_of_product}
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        call()
    return int(counter.get_total_flops())


def _work_of_product(inputs: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """From the shapes (R, in) and (out, in)."""
    return 2 * math.prod(inputs) * weight[0]


def roofline_notes() -> Iterator[str]:
    """The rates; FLOPs, time and share of the higher rate of each work; and where its time goes."""
    rates = measured_rates()
    yield str(rates)
    reached, spent = [], []
    for work in own_work():
        total = counted_work(work.counted)
        if work.call is not work.counted:
            work.call()  # the counted one has warmed up else
        seconds = statistics.median(seconds_of(work.call) for _ in range(ROUNDS))
        rate = total / seconds / 1e9
        reached.append([work.name, f"{total / 1e9:.1f}", f"{1e3 * seconds:.0f}", f"{rate:.0f}"])
        reached[-1].append(f"{100 * rate / rates.peak:.0f}")
        logger.info("%s: %.0f GFLOP/s", work.name, rate)
        spent.append([work.name, *(f"{100 * share:.0f}" for share in shares(work.call).values())])
    heading = ["ours", "GFLOP", "ms", "GFLOP/s", "% of the highest rate"]
    yield markdown_table(heading, reached, right=range(1, 5))
    yield markdown_table(["% of the time", *KINDS, BETWEEN], spent, right=range(1, len(KINDS) + 2))
