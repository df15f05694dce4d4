"""The kinds of detectors, by what each reads of a backbone and pools for a region; `KINDS` lists them.

A new kind is a module with a function as `build_fpn`, and an entry of `KINDS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from backbones import OptionError, create_backbone, create_trunk_and_head
from backbones.features import FeatureNetwork, StageHead
from backbones.pyramid import Pyramid
from backbones.simple_pyramid import SimplePyramid
from backbones.spec import FeatureSpec
from detection.model.detector import DetectorOptions, FasterRCNN, Trunk
from detection.model.mask_head import MaskHead
from detection.model.roi_heads import RoiHeads
from detection.model.roi_pooling import pool_regions
from detection.model.rpn import RegionProposalNetwork
from foundation.errors import UserError

PYRAMID_STRIDES = (4, 8, 16, 32)  # what RoI pooling's rule for the level of a region takes for granted


class StageRegions(nn.Module):
    """RoI pooling before conv5_1, conv5, average pooling (He et al. 2015, appendix A); of VGG fc6 and fc7.

    The paper takes the maximum over rounded bins; this is RoIAlign (He et al. 2017), aligned to half pixels,
    with 2x2 samples a bin whatever the region's size.

    Args:
        head: the stages after the shared ones.
        spec: of the shared feature map.
        size, aligned: height and width of the pooled grid, and how it is read.

    Raises:
        UserError: the head does not take the feature map's channels.
        OptionError: it does not take the pooled grid.
    """

    def __init__(self, head: StageHead, spec: FeatureSpec, *, size: int, aligned: bool = True) -> None:
        super().__init__()
        if head.in_channels != spec.channels:
            raise UserError(
                f"the head takes {head.in_channels} channels, the feature map has {spec.channels}; "
                "make both with one call of create_trunk_and_head"
            )
        self.head, self.spec, self.size, self.aligned = head, spec, size, aligned
        (self.out_channels,) = (last.channels for last in head.feature_specs.values())
        self.map_channels, training = self.out_channels, head.training
        with torch.no_grad():  # a region as a trial says how many pixels a side the head gives
            region = next(head.parameters()).new_zeros(1, head.in_channels, size, size)
            self.map_size = head.eval()(region).shape[-1]
        head.train(training)

    def maps(self, features: Sequence[Tensor], boxes: Tensor, size: int | None = None) -> Tensor:
        """Features (N, C, H, W) and boxes (N, R, 4) in pixels → conv5 of every region, (N · R, C', h, w).

        `size` is that of the pooled grid, if not the usual one.
        """
        grid, strides = size or self.size, [self.spec.stride]
        return self.head(pool_regions(features, strides, boxes, grid, aligned=self.aligned))

    def vectors(self, maps: Tensor) -> Tensor:
        """What `maps` returns → (N · R, out_channels)."""
        return maps.mean(dim=(2, 3))


class PooledRegions(nn.Module):
    """RoI pooling to a square grid, then two fully connected layers of `channels` (Lin et al. 2017)."""

    def __init__(self, specs: Sequence[FeatureSpec], *, size: int, aligned: bool, channels: int) -> None:
        super().__init__()
        self.strides, self.size, self.aligned = [spec.stride for spec in specs], size, aligned
        self.map_channels, self.out_channels = specs[0].channels, channels
        self.fc6 = nn.Linear(self.map_channels * size**2, channels)
        self.fc7 = nn.Linear(channels, channels)
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)

    def maps(self, features: Sequence[Tensor], boxes: Tensor, size: int | None = None) -> Tensor:
        """Features (N, C, H, W) and boxes (N, R, 4) in pixels → every region, (N · R, C, size, size).

        Features without a stride, as a pyramid's pooled top, are left out.
        """
        maps, grid = features[: len(self.strides)], size or self.size
        return pool_regions(maps, self.strides, boxes, grid, aligned=self.aligned)

    def vectors(self, maps: Tensor) -> Tensor:
        """What `maps` returns → (N · R, out_channels)."""
        return self.fc7(self.fc6(maps.flatten(1)).relu()).relu()


def build_c4(
    trunk: FeatureNetwork, head: StageHead, num_classes: int, options: DetectorOptions
) -> FasterRCNN:
    """Faster R-CNN on conv4 (He et al. 2015, appendix A): conv1–conv4 shared, conv5 and up for every region.

    Masks are made of conv5's output (He et al. 2017, figure 4).

    Trunk and head are as `create_trunk_and_head` returns; num_classes is K, without background.

    Raises:
        UserError: the trunk gives more than one feature map; the head leaves nothing to make masks of.
    """
    assert options.roi.size is not None
    spec = _only_spec(trunk)
    regions = StageRegions(head, spec, size=options.roi.size, aligned=options.roi.aligned)
    mask_head = None
    if options.mask is not None:
        if regions.map_size == 1:
            raise UserError(
                f"detector.mask needs a map of every region, the head of {head.name} gives a vector; choose "
                "another backbone, or detector.kind=dc5 or fpn"
            )
        mask_head = MaskHead(regions.map_channels, num_classes, replace(options.mask, convolutions=0))
    roi_heads = RoiHeads(
        regions, num_classes, options.roi, class_agnostic=options.class_agnostic, mask_head=mask_head
    )
    return FasterRCNN(trunk, RegionProposalNetwork([spec], options.rpn), roi_heads)


def build_dc5(network: FeatureNetwork, num_classes: int, options: DetectorOptions) -> FasterRCNN:
    """Proposals and regions from one map, a dilated conv5 of stride 16 (Dai et al. 2017).

    Raises:
        UserError: the network gives more than one feature map.
    """
    return _with_pooled_regions(network, [_only_spec(network)], num_classes, options)


def build_fpn(network: FeatureNetwork, num_classes: int, options: DetectorOptions) -> FasterRCNN:
    """A pyramid on four feature maps, proposals from all its levels and a fifth, regions from the four.

    Raises:
        UserError: the features have other strides than 4, 8, 16 and 32.
    """
    strides = tuple(spec.stride for spec in network.feature_specs.values())
    if strides != PYRAMID_STRIDES:
        raise UserError(
            f"detector.kind=fpn needs features of strides {PYRAMID_STRIDES}, {network.name} gives {strides}; "
            "choose another backbone or detector.kind=c4"
        )
    trunk = Pyramid(network, options.pyramid_channels)
    pooled = list(trunk.feature_specs.values())[: len(strides)]
    return _with_pooled_regions(trunk, pooled, num_classes, options)


def build_simple_fpn(network: FeatureNetwork, num_classes: int, options: DetectorOptions) -> FasterRCNN:
    """A pyramid on one feature map of stride 16 (Li et al. 2022), which plain transformers have; then as FPN.

    Raises:
        OptionError: the network gives more than one map, or one of another stride.
    """
    trunk = SimplePyramid(network, options.pyramid_channels)
    pooled = list(trunk.feature_specs.values())[: len(PYRAMID_STRIDES)]
    return _with_pooled_regions(trunk, pooled, num_classes, options)


def _with_pooled_regions(
    trunk: Trunk,
    pooled: Sequence[FeatureSpec],
    num_classes: int,
    options: DetectorOptions,
) -> FasterRCNN:
    assert options.roi.size is not None
    roi = options.roi
    regions = PooledRegions(pooled, size=options.roi.size, aligned=roi.aligned, channels=roi.channels)
    masks: dict[str, Any] = {}
    if options.mask is not None:
        mask_head = MaskHead(regions.map_channels, num_classes, options.mask)
        masks = {"mask_head": mask_head, "mask_size": options.mask.size}
    roi_heads = RoiHeads(regions, num_classes, options.roi, class_agnostic=options.class_agnostic, **masks)
    rpn = RegionProposalNetwork(list(trunk.feature_specs.values()), options.rpn)
    return FasterRCNN(trunk, rpn, roi_heads)


def _only_spec(trunk: FeatureNetwork) -> FeatureSpec:
    if len(trunk.feature_specs) != 1:
        raise UserError(
            f"this detector reads one feature map, the trunk gives {list(trunk.feature_specs)}; ask for one"
        )
    return next(iter(trunk.feature_specs.values()))


def _dilated_conv5(*, dilation: tuple[str, ...], **backbone: Any) -> tuple[FeatureNetwork]:
    if dilation not in ((), ("res5",)):
        raise UserError(
            f"detector.kind=dc5 dilates res5 alone; leave out backbone.dilation, got {list(dilation)}"
        )
    return _features("dc5", ("res5",), dilation=("res5",), **backbone)


def _features(kind: str, names: tuple[str, ...], **backbone: Any) -> tuple[FeatureNetwork]:
    try:
        return (create_backbone(out_features=names, **backbone),)
    except OptionError as error:
        needed = f"detector.kind={kind} needs the features {', '.join(names)}"
        remedy = " (detector.kind=simple_fpn takes a network of one map)" if kind == "fpn" else ""
        raise OptionError(f"{needed} of {backbone['name']}: {error}{remedy}") from None


@dataclass(frozen=True)
class DetectorKind:
    """How a detector of one kind is made.

    Attributes:
        networks: makes the backbone's parts of the keywords of `backbones.create_backbone`.
        build: puts the detector together: (*networks, num_classes, options) → FasterRCNN.
        rpn, roi: the options of each that a configuration may leave open, and what they are then.
    """

    networks: Callable[..., tuple[nn.Module, ...]]
    build: Callable[..., FasterRCNN]
    rpn: Mapping[str, Any]
    roi: Mapping[str, Any]


# Ren et al. 2015; the pyramid's are those of Lin et al. 2017 and detectron2.
_ONE_MAP = {"anchor_sizes": (128.0, 256.0, 512.0), "pre_nms_train": 12000, "pre_nms_test": 6000}
_FIVE_MAPS = {"anchor_sizes": (32.0, 64.0, 128.0, 256.0, 512.0), "pre_nms_train": 2000, "pre_nms_test": 1000}
_STAGES = ("res2", "res3", "res4", "res5")
KINDS = {
    "c4": DetectorKind(create_trunk_and_head, build_c4, rpn=_ONE_MAP, roi={"size": 14}),
    "dc5": DetectorKind(_dilated_conv5, build_dc5, rpn=_ONE_MAP, roi={"size": 7}),
    "fpn": DetectorKind(partial(_features, "fpn", _STAGES), build_fpn, rpn=_FIVE_MAPS, roi={"size": 7}),
    "simple_fpn": DetectorKind(
        partial(_features, "simple_fpn", ("res4",)), build_simple_fpn, rpn=_FIVE_MAPS, roi={"size": 7}
    ),
}
