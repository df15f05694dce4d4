"""The kinds of detectors, by what each reads of a backbone and pools for a region; `KINDS` lists them.

A new kind is a module with a function as `build_fpn`, and an entry of `KINDS`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from backbones import OptionError, create_backbone, create_trunk_and_head
from backbones.features import FeatureNetwork, StageHead
from backbones.pyramid import Pyramid
from backbones.simple_pyramid import SimplePyramid
from backbones.spec import FeatureSpec
from detection.heads.mask_head import MaskHead
from detection.heads.region_features import PooledRegions, StageRegions
from detection.heads.roi_heads import RoiHeads
from detection.model.detector import DetectorOptions, FasterRCNN, Trunk
from detection.model.rpn import RegionProposalNetwork
from foundation.errors import UserError

PYRAMID_STRIDES = (4, 8, 16, 32)  # what RoI pooling's rule for the level of a region takes for granted


def build_c4(
    trunk: FeatureNetwork, head: StageHead, num_classes: int, options: DetectorOptions
) -> FasterRCNN:
    """Faster R-CNN on conv4 (He et al. 2015, appendix A): conv1–conv4 shared, conv5 and up for every region.

    Masks are made of conv5's output (He et al. 2017, figure 4). Each stage of a cascade has its own conv5.

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
    stages = [regions, *(copy.deepcopy(regions) for _ in range(options.roi.stages - 1))]
    roi_heads = _roi_heads(stages, num_classes, options, mask_head=mask_head)
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
    stages = [
        PooledRegions(pooled, size=options.roi.size, aligned=roi.aligned, channels=roi.channels)
        for _ in range(roi.stages)
    ]
    masks: dict[str, Any] = {}
    if options.mask is not None:
        mask_head = MaskHead(stages[0].map_channels, num_classes, options.mask)
        masks = {"mask_head": mask_head, "mask_size": options.mask.size}
    roi_heads = _roi_heads(stages, num_classes, options, **masks)
    rpn = RegionProposalNetwork(list(trunk.feature_specs.values()), options.rpn)
    return FasterRCNN(trunk, rpn, roi_heads)


def _roi_heads(
    stages: Sequence[nn.Module], num_classes: int, options: DetectorOptions, **masks: Any
) -> RoiHeads:
    return RoiHeads(
        stages,
        num_classes,
        options.roi,
        class_agnostic=options.class_agnostic,
        context=options.context,
        testing=options.testing,
        **masks,
    )


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
