"""Greedy non-maximum suppression on NVIDIA GPUs, exact, in two kernels that the host need not wait for.

Boxes come by falling score, in blocks of 64. A word of 64 bits says which boxes of a block (its targets) one
better box (the source) suppresses if it is kept. `_compare` writes all words side by side; `_settle` goes
from block to block, as what is kept of one decides over the next. Importing this file needs Triton.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = tl.constexpr(64)  # targets of a word
SOURCES = tl.constexpr(256)  # whose words one program of _compare writes
CHUNK = tl.constexpr(2048)  # words that _settle reads at a time
# Fused multiply-adds would round the union of two boxes otherwise than torchvision does.
EXACT = {"enable_fp_fusion": False}


def greedy_of_sorted(boxes: Tensor, valid: Tensor, groups: Tensor, limit: float) -> Tensor:
    """What is kept of boxes by falling score; takes M² / 16 bytes of memory a picture.

    Args:
        boxes: (N, M, 4) xyxy, float32 or float64, contiguous as the others.
        valid: (N, M) bool; the others neither suppress nor are kept.
        groups: (N, M) int64; boxes of different groups do not suppress each other.
        limit: boxes with a larger IoU with a better box go; exact in the boxes' type.
    Returns:
        (N, M) bool.
    """
    keep = torch.zeros_like(valid)
    if keep.numel() == 0:
        return keep
    pictures, size = keep.shape
    blocks = triton.cdiv(size, BLOCK.value)
    words = boxes.new_empty((pictures, blocks * (blocks + 1) // 2 * BLOCK.value), dtype=torch.int64)
    limits = boxes.new_full((), limit)  # an argument would be rounded to float32
    bytes_valid, bytes_keep = valid.view(torch.uint8), keep.view(torch.uint8)
    with torch.cuda.device_of(boxes):  # Triton launches on the current one
        _compare[triton.cdiv(size, SOURCES.value), blocks, pictures](
            boxes, bytes_valid, groups, limits, words, size, num_warps=4, **EXACT
        )
        _settle[(pictures,)](bytes_valid, words, bytes_keep, size, num_warps=16)
    return keep


@triton.jit(do_not_specialize=["size"])
def _compare(
    boxes: tl.tensor,
    valid: tl.tensor,
    groups: tl.tensor,
    limits: tl.tensor,
    words: tl.tensor,
    size: tl.tensor,
) -> None:
    """The words of one block for some sources; of a block without valid targets nothing."""
    block, picture = tl.program_id(1), tl.program_id(2).to(tl.int64)
    boxes, valid, groups = boxes + picture * size * 4, valid + picture * size, groups + picture * size
    first, start = tl.program_id(0) * SOURCES, block * BLOCK
    end = tl.minimum(start + BLOCK, size)
    own = start + tl.arange(0, BLOCK)
    candidates = _word(tl.load(valid + own, mask=own < size, other=0) != 0)
    if (first < end) & (candidates != 0):
        source = first + tl.arange(0, SOURCES)
        inside = source < end
        left = tl.load(boxes + 4 * source, mask=inside, other=0)
        top = tl.load(boxes + 4 * source + 1, mask=inside, other=0)
        right = tl.load(boxes + 4 * source + 2, mask=inside, other=0)
        bottom = tl.load(boxes + 4 * source + 3, mask=inside, other=0)
        group = tl.load(groups + source, mask=inside, other=0)
        area = (right - left) * (bottom - top)
        limit = tl.load(limits)
        word = tl.zeros([SOURCES], tl.int64)
        for target in range(start, end):
            target_left, target_top = tl.load(boxes + 4 * target), tl.load(boxes + 4 * target + 1)
            target_right, target_bottom = tl.load(boxes + 4 * target + 2), tl.load(boxes + 4 * target + 3)
            target_area = (target_right - target_left) * (target_bottom - target_top)
            width = tl.minimum(right, target_right) - tl.maximum(left, target_left)
            height = tl.minimum(bottom, target_bottom) - tl.maximum(top, target_top)
            intersection = tl.maximum(width, 0.0) * tl.maximum(height, 0.0)
            iou = _divide(intersection, area + target_area - intersection)
            over = (iou > limit) & (group == tl.load(groups + target)) & (source < target)
            word |= over.to(tl.int64) << (target - start)
        tl.store(_column(words, picture, block, size) + source, word, mask=inside)


@triton.jit(do_not_specialize=["size"])
def _settle(valid: tl.tensor, words: tl.tensor, keep: tl.tensor, size: tl.tensor) -> None:
    """What is kept of one picture, where `keep` is 0 before."""
    picture = tl.program_id(0).to(tl.int64)
    valid, keep = valid + picture * size, keep + picture * size
    for block in range(0, tl.cdiv(size, BLOCK)):
        start = block * BLOCK
        own = start + tl.arange(0, BLOCK)
        candidates = _word(tl.load(valid + own, mask=own < size, other=0) != 0)
        if candidates != 0:
            column = _column(words, picture, block, size)
            own_words = tl.load(column + own, mask=own < size, other=0)
            gone = tl.zeros([CHUNK], tl.int64)
            for first in range(0, start, CHUNK):
                source = first + tl.arange(0, CHUNK)
                suppressed = tl.load(column + source, mask=source < start, other=0)
                kept = tl.load(keep + source, mask=source < start, other=0)
                gone |= tl.where(kept != 0, suppressed, 0)
            candidates &= ~tl.reduce(gone, 0, _either)
            # After k turns the first k boxes of the block are right: what no longer changes is the result.
            before, now = ~candidates, candidates
            while now != before:
                before = now
                now = candidates & ~tl.reduce(tl.where(_bits(before), own_words, 0), 0, _either)
            tl.store(keep + own, _bits(now).to(tl.uint8), mask=own < size)
            tl.debug_barrier()  # all threads of the program read it for the next blocks


@triton.jit
def _column(words: tl.tensor, picture: tl.tensor, block: tl.tensor, size: tl.tensor) -> tl.tensor:
    """Where the words of a block begin: one for each source up to the block's end."""
    blocks = tl.cdiv(size, BLOCK).to(tl.int64)
    before = picture * (blocks * (blocks + 1) // 2) + block * (block + 1) // 2
    return words + before * BLOCK


@triton.jit
def _divide(x: tl.tensor, y: tl.tensor) -> tl.tensor:
    """Rounded to the nearest number, as on the CPU; Triton's `/` of float32 is not."""
    if x.dtype == tl.float32:
        return tl.div_rn(x, y)
    else:
        return x / y


@triton.jit
def _word(flags: tl.tensor) -> tl.tensor:
    """The word whose bits are the flags (BLOCK,)."""
    return tl.sum(flags.to(tl.int64) << tl.arange(0, BLOCK), axis=0)


@triton.jit
def _bits(word: tl.tensor) -> tl.tensor:
    """(BLOCK,), the inverse of _word."""
    return ((word >> tl.arange(0, BLOCK)) & 1) != 0


@triton.jit
def _either(x: tl.tensor, y: tl.tensor) -> tl.tensor:
    return x | y
