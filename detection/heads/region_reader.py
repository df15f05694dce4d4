"""From feature maps to what is said of each region: pooling, the layers behind it, and the two predictors."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn


class RegionFeatures(Protocol):
    """A map of every region, of the usual `size` or another, and of the usual a vector of `out_channels`.

    Of the feature maps it reads the first `levels`.
    """

    out_channels: int
    levels: int

    def maps(self, features: Sequence[Tensor], boxes: Tensor, size: int | None = None) -> Tensor: ...

    def vectors(self, maps: Tensor) -> Tensor: ...


class RegionReader(nn.Module):
    """Reads regions, and predicts a class and a corrected box of each from what it read.

    Args:
        region_features: a module as `RegionFeatures` says.
        num_classes: K, without background.
        class_agnostic: one box for all classes.
        context: the predictors see beside a region the whole picture, read as a region of its own (He et al.
            2015, appendix B, "global context").
    """

    def __init__(
        self, region_features: nn.Module, num_classes: int, *, class_agnostic: bool, context: bool
    ) -> None:
        super().__init__()
        self.context, self.region_features = context, region_features
        channels: int = region_features.out_channels  # type: ignore[assignment]
        channels *= 2 if context else 1
        self.classifier = nn.Linear(channels, num_classes + 1)
        self.regressor = nn.Linear(channels, 4 * (1 if class_agnostic else num_classes))
        for layer, deviation in ((self.classifier, 0.01), (self.regressor, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    @property
    def regions(self) -> RegionFeatures:
        """The module that pools."""
        return self.region_features  # type: ignore[return-value]

    def read(self, features: Sequence[Tensor], boxes: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """What the layers behind the pooling make of regions.

        Args:
            features: (N, C, H, W) of every map.
            boxes: (N, R, 4) xyxy in pixels.
            sizes: (N, 2), the pictures' height and width.
        Returns:
            A map of every region (N · R, C', h, w), and the vector (N, R, C) that the predictors take; with
            context its second half is that of the whole picture.
        """
        if not self.context:
            maps = self.regions.maps(features, boxes)
            return maps, self.regions.vectors(maps).unflatten(0, boxes.shape[:2])
        whole = torch.cat([torch.zeros_like(sizes), sizes.flip(1)], dim=1).to(boxes.dtype)
        together = torch.cat([boxes, whole[:, None]], dim=1)
        maps = self.regions.maps(features, together)
        vectors = self.regions.vectors(maps).unflatten(0, together.shape[:2])
        own, context = vectors[:, :-1], vectors[:, -1:]
        maps = maps.unflatten(0, together.shape[:2])[:, :-1].flatten(0, 1)
        return maps, torch.cat([own, context.expand_as(own)], dim=2)

    def predict(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """What the predictors say of regions of which `read` gave the vectors (N, R, C).

        Returns:
            Logits (N, R, 1 + K), background first, and deltas (N, R, K, 4) or (N, R, 1, 4); float32.
        """
        vectors = vectors.float()
        with torch.autocast(vectors.device.type, enabled=False):  # bfloat16 ties scores and moves boxes
            return self.classifier(vectors), self.regressor(vectors).unflatten(2, (-1, 4))
