"""A detector that looks at a picture as `ImproveOptions` say, and gives one answer."""

from collections.abc import Callable, Iterator, Sequence
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
from detection.improve.detector_panel import DetectorPanel
from detection.improve.improve_options import ImproveOptions
from detection.improve.picture_scales import PictureScales
from detection.improve.tiles import may_speak, regions_of
from detection.model.detector import FasterRCNN
from detection.results.pasted_masks import paste_masks, paste_means
from detection.types import Prediction, Window

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


def answering(
    models: Sequence[FasterRCNN], configs: Sequence[DetectionConfig], options: ImproveOptions
) -> tuple[FasterRCNN | DetectorPanel, "Improver | None"]:
    """What answers for detectors of the same classes: a detector alone that looks once, or a panel.

    Returns:
        What finds objects in batches, and what shows it pictures; without the latter, pictures are shown as
        in training.
    """
    if len(models) == 1 and not options.anything and not configs[0].testing.scales:
        return models[0], None
    return DetectorPanel(models, configs), Improver(options, *configs)


class Improver:
    """Looks at pictures with any network that finds objects in a batch.

    Args:
        options: what to look at.
        configs: of the detectors, of which the first's options join the looks.
    """

    def __init__(self, options: ImproveOptions, *configs: DetectionConfig) -> None:
        self.given, self.roi = options.given(), configs[0].roi
        scales = PictureScales(configs)
        self.looks = [scales.at(one) for one in augmentations_of(options.augmentations, configs[0].data)]

    def find(
        self,
        network: Callable[..., Detections],
        pixels: _Pixels,
        masks_of: Callable[..., Tensor] | None = None,
    ) -> Prediction:
        """Everything in a picture (H, W, 3) RGB; the best of it, as many objects a region as configured.

        Of a picture with a single region and no augmentation this is what a plain detector finds, to the bit.

        Args:
            network: takes a batch of each size of `PictureScales`, as `DetectorPanel` does.
            masks_of: gives masks of boxes, as `DetectorPanel.masks` does. With it the masks of a picture that
                is looked at several times, but not in tiles, are read for the final boxes in every look, and
                are their mean (as in detectron2). Without, they are those of the boxes that were joined.
        """
        size = pixels.shape[0], pixels.shape[1]
        windows = self.regions(size)
        looks = [look for sizes in self.looks for look in _look(network, pixels, windows, sizes)]
        seen = _joined(looks)
        if len(windows) > 1:
            speaks = may_speak(seen.boxes, windows, size)
            seen = seen.of_rows(speaks.gather(1, seen.region[:, None])[:, 0])
        if len(windows) == len(self.looks) == 1:
            rows = torch.arange(len(seen.boxes))
            found = Fused(seen.boxes, seen.scores, seen.labels, list(rows[:, None]))
        else:
            found = self._merge(seen, windows, size)
        most = self.roi.detections_per_image * len(windows)
        boxes, scores, labels = (values[:most] for values in found[:3])
        masks = None
        if (
            seen.grids is not None
            and masks_of is not None
            and len(windows) == 1 < len(self.looks)
            and len(boxes)
        ):
            masks = paste_masks(self._mean_grids(masks_of, pixels, boxes, labels), boxes, size)
        elif seen.grids is not None:
            masks = paste_means(seen.grids, seen.boxes, seen.scores, found.members[:most], size)
        return Prediction(boxes, labels, scores, masks=masks)

    def _mean_grids(
        self, masks_of: Callable[..., Tensor], pixels: _Pixels, boxes: Tensor, labels: Tensor
    ) -> Tensor:
        """Masks (R, M, M) over boxes of the picture, the mean of all ways to look at it."""
        grids = []
        for sizes in self.looks:
            views = [augmentation.view((pixels.shape[0], pixels.shape[1])) for augmentation in sizes]
            shown = views[0].boxes(boxes.float())
            found = masks_of(shown[None], labels[None], *(view_batch([pixels], view) for view in views))
            grids.append(grids_of_file(found[0].cpu(), views[0]))
        return torch.stack(grids).mean(dim=0)

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
            return regions * len(self.looks)

        return fuse(seen.boxes, seen.scores, seen.labels, looks)


def _look(
    network: Callable[..., Detections], pixels: _Pixels, windows: list[Window], sizes: list[Augmentation]
) -> Iterator[_Seen]:
    """What every region shows to one way of looking; regions of the same size go together.

    Args:
        sizes: that the picture is looked at together, the first being that of the boxes.
    """
    by_size: dict[tuple[int, int], list[int]] = {}
    for region, window in enumerate(windows):
        by_size.setdefault(window[2:], []).append(region)
    for size, regions in by_size.items():
        views = [augmentation.view(size) for augmentation in sizes]
        for start in range(0, len(regions), AT_ONCE):
            some = regions[start : start + AT_ONCE]
            parts = [_cut(pixels, windows[region]) for region in some]
            found = network(*(view_batch(parts, view) for view in views))
            found = Detections._make(None if values is None else values.cpu() for values in found)
            for row, region in enumerate(some):
                valid = found.valid[row]
                top, left = windows[region][:2]
                boxes = boxes_of_file(found.boxes[row][valid], views[0]) + torch.tensor(
                    [left, top, left, top]
                )
                grids = None if found.masks is None else grids_of_file(found.masks[row][valid], views[0])
                where = torch.full((len(boxes),), region)
                yield _Seen(boxes, found.scores[row][valid], found.labels[row][valid], where, grids)


def _cut(pixels: _Pixels, window: Window) -> _Pixels:
    top, left, height, width = window
    return pixels[top : top + height, left : left + width]


def _joined(looks: list[_Seen]) -> _Seen:
    boxes, scores, labels, region, grids = zip(*looks, strict=True)
    masks = None if grids[0] is None else torch.cat(grids)
    return _Seen(torch.cat(boxes), torch.cat(scores), torch.cat(labels), torch.cat(region), masks)
