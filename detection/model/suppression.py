"""Greedy non-maximum suppression in fixed shapes."""

import functools
import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import nms

from detection.model.boxes import box_iou


def padded_nms(
    boxes: Tensor,
    scores: Tensor,
    valid: Tensor,
    *,
    threshold: float,
    count: int,
    groups: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression in fixed shapes, without waiting for CUDA.

    Exact, but on GPUs of CUDA where Triton does not run: `_greedy_in_rounds` says what is left out there. On
    CPUs and GPUs of other makers the host waits for the result.

    Args:
        boxes: (N, M, 4) xyxy, float32 or float64.
        scores: (N, M); of equal ones the first is the better.
        valid: (N, M) bool; the others neither suppress nor are kept.
        threshold: boxes with a larger IoU with a better box go.
        count: boxes kept per picture.
        groups: (N, M) int64; boxes of different groups do not suppress each other.
    Returns:
        index (N, count) into M by falling score, and kept (N, count) bool, False where nothing was left.
    """
    if groups is None:
        groups = torch.zeros_like(valid, dtype=torch.int64)
    keep = _greedy_for(boxes.device)(boxes, scores, valid, groups, threshold)
    ranking = scores.masked_fill(~keep, -math.inf)
    index = ranking.argsort(dim=1, descending=True, stable=True)[:, :count]
    missing = count - index.shape[1]
    return F.pad(index, (0, missing)), F.pad(keep.gather(1, index), (0, missing))


def _greedy_for(device: torch.device) -> Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]:
    if device.type in ("cpu", "meta"):
        return _greedy_by_kernel
    if device.type == "cuda":
        return _greedy_by_triton if torch.version.hip is None else _greedy_in_rounds
    return _greedy_until_settled  # torchvision's, class by class, would wait more often


@torch.library.custom_op("residual_backbones::greedy_by_kernel", mutates_args=())
def _greedy_by_kernel(
    boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor, threshold: float
) -> Tensor:
    """(N, M) bool by torchvision, group by group; moving groups apart would cost digits and compare more."""
    keep = torch.zeros_like(valid)
    scores = scores.to(boxes.dtype)  # nms wants one type
    for i, picture in enumerate(valid):
        rows = picture.nonzero()[:, 0]
        order = groups[i, rows].argsort(stable=True)
        sizes = groups[i, rows].unique(return_counts=True)[1]
        for members in rows[order].split(sizes.tolist()):
            keep[i, members[nms(boxes[i, members], scores[i, members], threshold)]] = True
    return keep


@torch.library.custom_op("residual_backbones::greedy_by_triton", mutates_args=())
def _greedy_by_triton(
    boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor, threshold: float
) -> Tensor:
    """(N, M) bool by our kernels, or in rounds where they do not run."""
    if not _kernels_run(boxes.device):
        return _greedy_in_rounds(boxes, scores, valid, groups, threshold)
    from detection.model.suppression_kernels import greedy_of_sorted

    order, boxes, valid, groups = _by_falling_score(boxes, scores, valid, groups)
    keep = greedy_of_sorted(boxes, valid, groups, _exact(threshold, boxes.dtype))
    return torch.zeros_like(keep).scatter(1, order, keep)


@_greedy_by_kernel.register_fake
@_greedy_by_triton.register_fake
def _(boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor, threshold: float) -> Tensor:
    return torch.empty_like(valid)


@functools.cache
def _kernels_run(device: torch.device) -> bool:
    """Whether the kernels run there, tried once with a single box; warns where they do not."""
    try:
        from detection.model.suppression_kernels import greedy_of_sorted

        box, valid = torch.zeros(1, 1, 4, device=device), torch.ones(1, 1, dtype=torch.bool, device=device)
        greedy_of_sorted(box, valid, valid.long(), 0.5)
    except Exception as error:  # of any kind: Triton, its compilers and the driver have no common one
        warnings.warn(
            f"suppression on {device} takes rounds, which are slower and may leave boxes out: {error!r}. "
            "The exact kernels need Triton, a C compiler and Python's headers",
            stacklevel=2,
        )
        return False
    return True


def _by_falling_score(
    boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The stable order (N, M) by falling score, and boxes, valid and groups in that order."""
    order = scores.masked_fill(~valid, -math.inf).argsort(dim=1, descending=True, stable=True)
    boxes = boxes.take_along_dim(order[..., None], dim=1)
    return order, boxes, valid.gather(1, order), groups.gather(1, order)


def _greedy_in_rounds(
    boxes: Tensor,
    scores: Tensor,
    valid: Tensor,
    groups: Tensor,
    threshold: float,
    *,
    rounds: int = 16,
    block: int = 2048,
    settled: bool = False,
) -> Tensor:
    """(N, M) bool for other devices, by blocks of falling score; how many steps depends on M alone.

    If all boxes of a block count as kept, too few survive them; if only those count, too many do, and so on.
    After 2 · rounds turns every box behind a chain of at most as many suppressions is settled. Boxes behind
    longer chains are left out, so what is kept is the exact result without those. With `settled` the turns go
    on until all are, for which the host waits.
    """
    order, boxes, keep, groups = _by_falling_score(boxes, scores, valid, groups)
    for start in range(0, keep.shape[1], block):
        part = slice(start, start + block)
        over = _suppresses(boxes, groups, slice(start), part, threshold)
        alive = keep[:, part] & ~(over & keep[:, :start, None]).any(dim=1)
        over = _suppresses(boxes, groups, part, part, threshold).triu(1)
        least, most, turns = torch.zeros_like(alive), alive, 0
        while turns < rounds or (settled and not torch.equal(least, most)):
            least = alive & ~(over & most[..., None]).any(dim=1)
            most = alive & ~(over & least[..., None]).any(dim=1)
            turns += 1
        keep = torch.cat([keep[:, :start], least, keep[:, start + block :]], dim=1)
    return torch.zeros_like(keep).scatter(1, order, keep)


_greedy_until_settled = functools.partial(_greedy_in_rounds, settled=True)


def _suppresses(boxes: Tensor, groups: Tensor, better: slice, worse: slice, threshold: float) -> Tensor:
    """(N, better, worse) bool, whether the IoU is above the threshold, within groups."""
    over = box_iou(boxes[:, better], boxes[:, worse]) > _exact(threshold, boxes.dtype)
    return over & (groups[:, better, None] == groups[:, None, worse])


def _exact(threshold: float, dtype: torch.dtype) -> float:
    """The largest number of the type not above the threshold; torchvision's CPU code compares exactly."""
    rounded = torch.tensor(threshold, dtype=dtype)
    if rounded.item() > threshold:
        rounded = rounded.nextafter(torch.tensor(-math.inf, dtype=dtype))
    return rounded.item()
