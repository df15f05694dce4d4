"""Where the time of a call goes: torch's profiler, its operations summed by kind."""

import os
from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks.backbone_speed import Call

# By parts of an operation's name, tried in this order; what an operation calls counts with it.
KINDS = {
    "optimiser": ("Optimizer.",),
    "convolutions": ("conv",),
    "matrix products": ("linear", "::addmm", "matmul", "::mm", "::bmm"),
    # Our RoIAlign sums rows of a map on a CPU, which is an embedding bag.
    "pooling, RoIAlign": ("pool", "roi_align", "embedding_bag", "upsample", "grid_sampler"),
    "NMS, sorting": ("nms", "greedy_by_kernel", "sort", "topk"),
    "copies, indexing": (
        *("copy", "clone", "contiguous", "::to", "::cat", "stack", "index", "gather", "scatter", "select"),
        *("slice", "take", "nonzero", "::pad", "masked", "repeat"),
    ),
    "normalisation, ReLU, others": ("",),
}
BETWEEN = "between"  # Python, and what torch does around its operations


def kind_of(name: str) -> str | None:
    """The kind of an operation by its name; None of a frame around others, such as autograd's."""
    if name.startswith(("autograd::", "torch::autograd")) or not ("::" in name or "Optimizer." in name):
        return None
    return next(kind for kind, parts in KINDS.items() if any(part in name for part in parts))


def shares(call: Call) -> dict[str, float]:
    """The share of each of `KINDS` in the time of a call, and of what is `BETWEEN` them; they sum to 1."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # it reports to the terminal that there is no GPU
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        call()
    microseconds = dict.fromkeys([*KINDS, BETWEEN], 0.0)
    events = profiler.events() or []
    for event in events:
        microseconds[outermost_kind(event) or BETWEEN] += event.self_cpu_time_total
    whole = max(e.time_range.end for e in events) - min(e.time_range.start for e in events)
    microseconds[BETWEEN] += whole - sum(microseconds.values())
    return {kind: part / whole for kind, part in microseconds.items()}


def outermost_kind(event: Any) -> str | None:
    """The kind of the outermost operation that this event of the profiler is a part of."""
    found = None
    while event is not None:
        found = kind_of(event.name) or found
        event = event.cpu_parent
    return found
