"""Label maps of whole pictures: at one or several scales, mirrored, whole or by windows that overlap."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from segmentation.data.crop_augmentation import evaluated_size, scaled_by
from segmentation.model.map_sizes import resize_bilinear
from segmentation.model.segmenter import Segmenter
from training.config import require_between


@dataclass(frozen=True)
class SearchOptions:
    """How a trained network looks at a picture.

    Attributes:
        scales: factors of the picture's size; probabilities of all are averaged.
        flip: also looks at mirror images, and averages.
        window: pixels of the sides of windows that are laid over a larger picture, as large as training
            crops; null looks at the whole.
        overlap: share of a window that the next one covers again.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: int | None = None
    overlap: float = 1 / 3

    def __post_init__(self) -> None:
        require_between(self, 32, math.inf, "window")
        require_between(self, 0, 0.9, "overlap")
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales must be one or more factors above 0, got {list(self.scales)}")

    @property
    def one_look(self) -> bool:
        """Whether the network sees every picture once, as a whole."""
        return len(self.scales) == 1 and not self.flip and self.window is None


def search_labels(
    network: Segmenter, image: Tensor, options: SearchOptions, *, short_side: int | None, bf16: bool
) -> Tensor:
    """The class of every pixel, (H, W) uint8, the first of equals.

    Args:
        network: in evaluation.
        image: (3, H, W) uint8 RGB, on the network's device.
        short_side: pixels to which the short side is scaled first; None takes the picture as it is.
    """
    size, total = (image.shape[1], image.shape[2]), None
    for scale in options.scales:
        seen = scaled_by(evaluated_size(size, short_side), scale)
        scaled = image[None]
        if seen != size:
            scaled = F.interpolate(scaled, seen, mode="bilinear", antialias=True)
        for mirrored in (False, True) if options.flip else (False,):
            logits = _logits(network, scaled.flip(3) if mirrored else scaled, options, bf16=bf16)
            logits = logits.flip(3) if mirrored else logits
            if options.one_look:
                return resize_bilinear(logits, size).argmax(dim=1)[0].to(torch.uint8)
            found = resize_bilinear(logits.softmax(dim=1), size)
            total = found if total is None else total + found
    assert total is not None
    return total.argmax(dim=1)[0].to(torch.uint8)


def _logits(network: Segmenter, image: Tensor, options: SearchOptions, *, bf16: bool) -> Tensor:
    """(1, K, h, w) of a picture (1, 3, h, w) uint8: of the whole, or the mean of the windows there."""
    size = (image.shape[2], image.shape[3])
    if options.window is None or max(size) <= options.window:
        return _of_view(network, image, bf16=bf16)
    total, count = None, image.new_zeros(size, dtype=torch.float32)
    for top, left in windows(size, options.window, options.overlap):
        rows, columns = slice(top, top + options.window), slice(left, left + options.window)
        found = _of_view(network, image[:, :, rows, columns], bf16=bf16)
        if total is None:
            total = found.new_zeros(1, found.shape[1], *size)
        total[:, :, rows, columns] += found
        count[rows, columns] += 1
    assert total is not None
    return total / count


def _of_view(network: Segmenter, image: Tensor, *, bf16: bool) -> Tensor:
    with torch.autocast(image.device.type, torch.bfloat16, enabled=bf16):
        return network.whole_cells(network.input_spec.normalise(image))["out"]


def windows(size: tuple[int, int], window: int, overlap: float) -> Iterator[tuple[int, int]]:
    """(top, left) of the windows that cover a picture (height, width), evenly spread over each side."""
    step = max(1, math.floor(window * (1 - overlap)))
    starts = []
    for side in size:
        room = max(0, side - window)
        count = 1 + math.ceil(room / step)
        starts.append([round(room * i / max(1, count - 1)) for i in range(count)])
    yield from ((top, left) for top in starts[0] for left in starts[1])
