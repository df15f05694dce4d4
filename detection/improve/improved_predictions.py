"""A detector that looks at a picture as `ImproveOptions` say, and gives one answer."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detection.config import DetectionConfig
from detection.data.detection_batches import view_batch
from detection.heads.candidates import Detections
from detection.improve.augmented_testing import Augmentation, augmentations_of, boxes_of_file, grids_of_file
from detection.improve.box_fusion import Fused, fuse, suppress
from detection.improve.improve_options import ImproveOptions
from detection.improve.tiles import may_speak, regions_of
from detection.results.pasted_masks import paste_means
from detection.types import Batch, Prediction, Window

AT_ONCE = 8  # tiles in a batch; all of a picture have one size, so that nothing is padded

_Pixels = NDArray[np.uint8]


class _Seen(NamedTuple):
    """What one or several looks at a picture found, in its pixels.

    boxes (D, 4), scores (D,), labels (D,); region (D,) int64: which saw it; grids (D, M, M): masks over
    the boxes.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    region: Tensor
    grids: Tensor | None

    def of_rows(self, rows: Tensor) -> "_Seen":
        return _Seen(*(None if values is None else values[rows] for values in self))  # type: ignore[arg-type]


class Improver:
    """Looks at pictures with any network that finds objects in a batch.

    Args:
        options: what to look at.
        config: of the detector.
    """

    def __init__(self, options: ImproveOptions, config: DetectionConfig) -> None:
        self.given, self.roi = options.given(), config.roi
        self.augmentations = augmentations_of(options.augmentations, config.data)

    def find(self, network: Callable[[Batch], Detections], pixels: _Pixels) -> Prediction:
        """Everything in a picture (H, W, 3) RGB; the best of it, as many objects a region as configured.

        Of a picture with a single region and no augmentation this is what a plain detector finds, to the bit.
        """
        size = pixels.shape[0], pixels.shape[1]
        windows = self.regions(size)
        looks = [look for one in self.augmentations for look in _look(network, pixels, windows, one)]
        seen = _joined(looks)
        if len(windows) > 1:
            speaks = may_speak(seen.boxes, windows, size)
            seen = seen.of_rows(speaks.gather(1, seen.region[:, None])[:, 0])
        if len(windows) == len(self.augmentations) == 1:
            rows = torch.arange(len(seen.boxes))
            found = Fused(seen.boxes, seen.scores, seen.labels, list(rows[:, None]))
        else:
            found = self._merge(seen, windows, size)
        most = self.roi.detections_per_image * len(windows)
        boxes, scores, labels = (values[:most] for values in found[:3])
        masks = None
        if seen.grids is not None:
            masks = paste_means(seen.grids, seen.boxes, seen.scores, found.members[:most], size)
        return Prediction(boxes, labels, scores, masks=masks)

    def regions(self, size: tuple[int, int]) -> list[Window]:
        """What is looked at of a picture (height, width)."""
        if "tiles" not in self.given:
            return [(0, 0, *size)]
        return regions_of(size, self.given["tiles"], self.given["overlap"])

    def _merge(self, seen: _Seen, windows: list[Window], size: tuple[int, int]) -> Fused:
        if self.given["merge"] == "nms":
            return suppress(seen.boxes, seen.scores, seen.labels, self.roi.nms_threshold)

        def looks(boxes: Tensor) -> Tensor:
            regions = may_speak(boxes, windows, size).sum(dim=1).clamp(min=1)
            return regions * len(self.augmentations)

        return fuse(seen.boxes, seen.scores, seen.labels, looks)


def _look(
    network: Callable[[Batch], Detections], pixels: _Pixels, windows: list[Window], augmentation: Augmentation
) -> Iterator[_Seen]:
    """What every region shows to one way of looking; regions of the same size go together."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for region, window in enumerate(windows):
        by_size.setdefault(window[2:], []).append(region)
    for size, regions in by_size.items():
        view = augmentation.view(size)
        for start in range(0, len(regions), AT_ONCE):
            some = regions[start : start + AT_ONCE]
            parts = [_cut(pixels, windows[region]) for region in some]
            found = network(view_batch(parts, view))
            found = Detections._make(None if values is None else values.cpu() for values in found)
            for row, region in enumerate(some):
                valid = found.valid[row]
                top, left = windows[region][:2]
                boxes = boxes_of_file(found.boxes[row][valid], view) + torch.tensor([left, top, left, top])
                grids = None if found.masks is None else grids_of_file(found.masks[row][valid], view)
                where = torch.full((len(boxes),), region)
                yield _Seen(boxes, found.scores[row][valid], found.labels[row][valid], where, grids)


def _cut(pixels: _Pixels, window: Window) -> _Pixels:
    top, left, height, width = window
    return pixels[top : top + height, left : left + width]


def _joined(looks: list[_Seen]) -> _Seen:
    boxes, scores, labels, region, grids = zip(*looks, strict=True)
    masks = None if grids[0] is None else torch.cat(grids)
    return _Seen(torch.cat(boxes), torch.cat(scores), torch.cat(labels), torch.cat(region), masks)
