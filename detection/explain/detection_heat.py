"""Heat maps of single detections: Grad-CAM on the maps that regions are read from."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbones.explain.grad_cam import captum_attributions, explain_maps, spread_heat
from backbones.explain.theoretical_fields import find_offsets
from backbones.simple_pyramid import SimplePyramid
from detection.data.detection_batches import picture_batch
from detection.heads.region_reader import RegionReader
from detection.loaded_detector import Detector
from detection.model.detector import FasterRCNN
from detection.types import Batch, Prediction
from foundation.errors import UserError
from pictures.suffixes import is_video


def check_explainable(detector: Detector, pictures: Sequence[Path]) -> None:
    """Refuses, with a `UserError`, videos, and detections that are not what one region says."""
    captum_attributions()
    for video in filter(is_video, pictures):
        raise UserError(f"--explain is for pictures, {video} is a video; leave one of them out")
    testing = detector.config.testing
    if detector.improver is not None or testing.refine or testing.votes:
        raise UserError(
            "--explain is of one look at a picture by one detector; leave out --tiles, --tta, further "
            "--weights, testing.scales, testing.refine and testing.vote"
        )


def explain_detections(
    detector: Detector, pixels: NDArray[np.uint8], prediction: Prediction
) -> Iterator[NDArray[np.float32]]:
    """What speaks for each of some detections in a picture (Selvaraju et al. 2017).

    A detection's score is what the heads say of the region that it was corrected from. Each channel of the
    map that the region is pooled from is weighted with the mean over the map of the score's gradient, the
    channels are added up, and what is negative is left out. The gradient is that of the region alone, but
    the weighted map is that of the whole picture: so other places can be warm that look alike.

    Args:
        detector: as `check_explainable` wants it.
        pixels: (H, W, 3) RGB.
        prediction: of `Detector.find` for the picture, or some of its rows.
    Yields:
        For each row (H, W), at least 0.
    Raises:
        UserError: captum is not installed.
    """
    model: Any = detector.network
    device = next(model.parameters()).device
    batch = picture_batch(pixels, detector.config.data).to(device)
    with torch.no_grad():
        features = model.extract(batch)
        proposals, _ = model.propose(batch, features)
        scores, boxes = _score(model, features, proposals.boxes, batch)
    scale = torch.stack([*batch.scales[0].flip(0)] * 2)  # x y x y
    height, width = batch.sizes[0].int().tolist()
    found = prediction.boxes.to(device) * scale, prediction.scores, prediction.labels.tolist()
    for box, score, label in zip(*found, strict=True):
        # The same computation found it, so that one region says this to rounding.
        differences = (boxes[0, :, label - 1] - box).abs().amax(1) + (scores[0, :, label - 1] - score).abs()
        region = int(differences.masked_fill(~proposals.valid[0], torch.inf).argmin())
        heat = _explain(model, features, proposals.boxes[:, region : region + 1], label, batch)
        seen = heat[None, None, :height, :width]
        whole = F.interpolate(seen, pixels.shape[:2], mode="bilinear", align_corners=False)
        yield whole[0, 0].cpu().numpy()


def _explain(model: FasterRCNN, features: list[Tensor], region: Tensor, label: int, batch: Batch) -> Tensor:
    """The heat (H, W) of the padded picture; of a pyramid's levels the region reads one, the rest is cold."""
    read = model.roi_heads.regions.levels

    def score(*maps: Tensor) -> Tensor:
        scores, _ = _score(model, [*maps, *features[read:]], region, batch)
        return scores[:, 0]

    heats = explain_maps(score, features[:read], label - 1)
    places = list(_places(model).items())[:read]
    spread = [
        spread_heat(heat[None], batch.images.shape[2:], stride, offset)
        for heat, (stride, offset) in zip(heats, places, strict=True)
    ]
    return torch.cat(spread).sum(0)


@lru_cache(maxsize=1)  # of one detector at a time, since it takes seconds of some networks
def _places(model: FasterRCNN) -> dict[int, float]:
    """Stride and offset (see `spread_heat`) of each map; a pyramid's lie where those that it is made of do.

    A simple pyramid's cells are patches of the picture, or parts of them.
    """
    strides = [spec.stride for spec in model.feature_specs.values()]
    if isinstance(model.trunk, SimplePyramid):
        return {stride: (stride - 1) / 2 for stride in strides}
    body: Any = getattr(model.trunk, "body", model.trunk)
    found = {body.feature_specs[name].stride: offset for name, offset in find_offsets(body).items()}
    return {stride: found.get(stride, 0.0) for stride in strides}


def _score(model: FasterRCNN, features: list[Tensor], regions: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    def read(reader: RegionReader, boxes: Tensor) -> Tensor:
        return reader.read(features, boxes, batch.sizes)[1]

    return model.roi_heads.score(read, batch.sizes, regions)
