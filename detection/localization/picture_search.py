"""Search pictures for given classes: with the per-class RPN in one crop or densely, or with R-CNN again.

He et al. 2015, appendix C. Pictures are searched one by one, never padded, each process its share.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from backbones.norm import inference_copy
from detection.data.transforms import View, scaled_size
from detection.localization.box_lists import BoxLists, pack_lists
from detection.localization.localization_config import CENTRE, SCALES, SIZE, LocalizationConfig
from detection.localization.localizer import Localizer, RegionLocalizer, RpnLocalizer
from detection.localization.one_class_pictures import OneClassPictures
from detection.localization.region_crops import warp
from detection.model.boxes import at_least, clip_boxes
from detection.model.suppression import padded_nms
from pictures.decoding import load_image
from training.devices import gather_objects, rank, world_size
from training.loader import BatchLoader, Item, evaluation_shard
from training.progress.progress_bar import watched

PRE_NMS = 1000  # boxes of a class and a scale that enter non-maximum suppression, at most
AT_ONCE = 50  # regions that R-CNN looks at together

Wanted = Sequence[Sequence[int]]  # the classes to look for in each picture, 1…K
# Boxes (R, 4) and scores (R,) of every class asked for, from the pixels (H, W, 3) of the picture of a number.
Find = Callable[[int, Tensor, Sequence[int]], list[tuple[Tensor, Tensor]]]


def search(
    model: Localizer,
    pictures: OneClassPictures,
    wanted: Wanted,
    config: LocalizationConfig,
    about: dict[str, Any],
    proposals: BoxLists | None = None,
) -> BoxLists:
    """The best boxes of the classes wanted in every picture; all processes get all.

    Args:
        model: in any mode, which it keeps; an `inference_copy` computes.
        proposals: of the RPN for the same pictures, which R-CNN looks at again.
    """
    folded: Localizer = inference_copy(model)
    find: Find
    if isinstance(folded, RegionLocalizer):
        assert proposals is not None
        find = partial(find_again, folded, config=config, proposals=proposals)
    else:
        find = partial(find_boxes, folded, config=config)
    shard = evaluation_shard(len(pictures), rank(), world_size())
    items = [[Item(index, 0)] for index in shard]
    decoded = BatchLoader(partial(_decoded, pictures), items, config.run.workers)
    found = []
    for index, pixels in zip(
        shard, watched(decoded, len(shard), unit="picture", title="localization"), strict=True
    ):
        labels = wanted[index]
        lists = find(index, pixels, labels) if labels else []
        found += [(index, label, *of_class) for label, of_class in zip(labels, lists, strict=True)]
    together = [pair for part in gather_objects(found) for pair in part]
    return pack_lists(list(map(str, pictures.image_ids)), pictures.classes, together, about)


def _decoded(pictures: OneClassPictures, items: Sequence[Item]) -> Tensor:
    """(H, W, 3) of the only one of the items."""
    (item,) = items
    size = pictures.image_sizes[item.index]
    return torch.from_numpy(load_image(pictures.image_path(item.index), size))


@torch.inference_mode()
def find_boxes(
    model: RpnLocalizer, index: int, pixels: Tensor, labels: Sequence[int], *, config: LocalizationConfig
) -> list[tuple[Tensor, Tensor]]:
    """What the RPN finds: of each class the best boxes of all views, best first, in the file's pixels."""
    device, size = next(model.parameters()).device, (pixels.shape[0], pixels.shape[1])
    classes, planes = torch.tensor([list(labels)], device=device), pixels.permute(2, 0, 1)
    logits, boxes = [], []
    for view in views(size, config):
        image = view.image(planes)[None].to(device)
        with _autocast(device, config):
            of_view, placed = model.search(image, classes)
        best = of_view[0].sort(dim=1, descending=True, stable=True).indices[:, :PRE_NMS]
        logits.append(of_view[0].gather(1, best))
        boxes.append(to_file(placed[0].take_along_dim(best[..., None], dim=1), view))
    return _best(torch.cat(boxes, dim=1), torch.cat(logits, dim=1), size, config)


@torch.inference_mode()
def find_again(
    model: RegionLocalizer,
    index: int,
    pixels: Tensor,
    labels: Sequence[int],
    *,
    config: LocalizationConfig,
    proposals: BoxLists,
) -> list[tuple[Tensor, Tensor]]:
    """What R-CNN makes of the proposals for each class: new scores and boxes, best first."""
    device, size, found = next(model.parameters()).device, (pixels.shape[0], pixels.shape[1]), []
    for label in labels:
        regions, _ = proposals.of(index, label)
        if not len(regions):
            found.append((regions, regions[:, 0]))
            continue
        regions = regions[: config.testing.best]
        images = warp(pixels.numpy(), regions, config.data.image_size)
        scores, boxes = [], []
        for part, places in zip(images.split(AT_ONCE), regions.split(AT_ONCE), strict=True):
            classes = torch.full((len(part),), label, device=device)
            with _autocast(device, config):
                logits, better = model.rescore(part.to(device), places.to(device), classes)
            scores.append(logits)
            boxes.append(better)
        found += _best(torch.cat(boxes)[None], torch.cat(scores)[None], size, config)
    return found


def _autocast(device: torch.device, config: LocalizationConfig) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=config.run.precision == "bf16")


def _best(
    boxes: Tensor, logits: Tensor, size: tuple[int, int], config: LocalizationConfig
) -> list[tuple[Tensor, Tensor]]:
    """Of boxes (P, M, 4) and logits (P, M) those of each class that suppression leaves, on the CPU."""
    boxes = clip_boxes(boxes, torch.tensor([size], device=boxes.device))
    index, kept = padded_nms(
        boxes,
        logits,
        at_least(boxes, 1e-3),
        threshold=config.testing.nms_threshold,
        count=config.testing.best,
    )
    boxes, scores = (
        boxes.take_along_dim(index[..., None], dim=1).cpu(),
        logits.gather(1, index).sigmoid().cpu(),
    )
    return [(b[k], s[k]) for b, s, k in zip(boxes, scores, kept.cpu(), strict=True)]


def views(size: tuple[int, int], config: LocalizationConfig) -> list[View]:
    """How a picture (height, width) is looked at: the centre of it, or all of it at several scales."""
    side, testing = config.data.image_size, config.testing
    if testing.protocol == "one_crop":
        resized = scaled_size(size, CENTRE * side / SIZE / min(size))
        top, left = ((length - side) // 2 for length in resized)
        return [View(size, resized, (top, left, side, side))]
    scales = testing.scales or [scale * side / SIZE for scale in SCALES]
    return [View(size, scaled_size(size, scale / min(size))) for scale in scales]


def to_file(boxes: Tensor, view: View) -> Tensor:
    """Boxes (..., 4) of a view, not mirrored, in the pixels of its file."""
    top, left = (0, 0) if view.window is None else view.window[:2]
    scale_y, scale_x = view.scale
    origin = boxes.new_tensor([left, top, left, top])
    return (boxes + origin) / boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])
