"""Our networks in torchvision's detectors: what a detector must be told about its backbone.

A FeatureNetwork is a backbone as it is: `FasterRCNN(network, 91, **detector_arguments(network))`. So is a
Pyramid on one.
"""

from typing import Any

from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from backbones.features import FeatureNetwork
from backbones.pyramid import Pyramid

__all__ = ["Pyramid", "detector_arguments", "normalisation"]

_RATIOS = (0.5, 1.0, 2.0)
_SINGLE_MAP_SIZES = (32, 64, 128, 256, 512)


def normalisation(backbone: FeatureNetwork | Pyramid) -> dict[str, list[float]]:
    """image_mean and image_std, for every detector of torchvision, whose default is ImageNet's.

    Raises:
        OptionError: the network wants BGR.
    """
    mean, std = backbone.input_spec.as_unit_rgb()
    return {"image_mean": list(mean), "image_std": list(std)}


def detector_arguments(backbone: FeatureNetwork | Pyramid) -> dict[str, Any]:
    """What FasterRCNN and MaskRCNN need to be told of a backbone: normalisation, anchors, RoI pooling.

    Anchors have three ratios, and one size, 8 strides, on each level of a pyramid, 32 … 512 on a single map.

    The backbone is a network whose features have one width, or a pyramid.

    Raises:
        OptionError: the network wants BGR, or its features differ in width.
    """
    assert backbone.out_channels  # the error of its absence says what to do, torchvision's does not
    sizes: list[tuple[int, ...]] = [(8 * spec.stride,) for spec in backbone.feature_specs.values()]
    if len(sizes) == 1:
        sizes = [_SINGLE_MAP_SIZES]
    maps = [name for name in backbone.feature_specs if name != "pool"]
    return {
        **normalisation(backbone),
        "rpn_anchor_generator": AnchorGenerator(tuple(sizes), (_RATIOS,) * len(sizes)),
        "box_roi_pool": MultiScaleRoIAlign(maps, output_size=7, sampling_ratio=2),
    }
