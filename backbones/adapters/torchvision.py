"""Our networks in torchvision's detectors: pyramids, and what a detector must be told about its backbone.

A FeatureNetwork is a backbone as it is: `FasterRCNN(network, 91, **detector_arguments(network))`.
"""

from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from backbones.features import FeatureNetwork
from backbones.spec import FeatureSpec

_RATIOS = (0.5, 1.0, 2.0)
_SINGLE_MAP_SIZES = (32, 64, 128, 256, 512)


class Pyramid(nn.Module):
    """A feature pyramid (Lin et al. 2017) on all features of a network, with a pooled level on top.

    The same as torchvision's BackboneWithFPN, parameter names included, but for any of our networks: the
    latter cuts networks itself, which fails where a module is used twice (pre-activation) or lies deeper
    (VGG).

    Attributes:
        feature_specs: "0", "1", …, which torchvision's detectors expect, and "pool" → channels and stride.
        input_spec, out_channels: of the network, and of every level.
    """

    def __init__(self, network: FeatureNetwork, out_channels: int = 256) -> None:
        super().__init__()
        specs = list(network.feature_specs.values())
        self.body = network
        self.fpn = FeaturePyramidNetwork(
            [spec.channels for spec in specs], out_channels, extra_blocks=LastLevelMaxPool()
        )
        self.out_channels, self.input_spec = out_channels, network.input_spec
        self.feature_specs = {
            **{str(level): FeatureSpec(out_channels, spec.stride) for level, spec in enumerate(specs)},
            "pool": FeatureSpec(out_channels, 2 * specs[-1].stride),
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) normalised pictures → {level: (N, out_channels, h, w)}."""
        maps = self.body(images).values()
        return self.fpn({str(level): features for level, features in enumerate(maps)})


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

    Args:
        backbone: a network with one feature, or a pyramid.
    Raises:
        OptionError: the network wants BGR.
    """
    sizes: list[tuple[int, ...]] = [(8 * spec.stride,) for spec in backbone.feature_specs.values()]
    if len(sizes) == 1:
        sizes = [_SINGLE_MAP_SIZES]
    maps = [name for name in backbone.feature_specs if name != "pool"]
    return {
        **normalisation(backbone),
        "rpn_anchor_generator": AnchorGenerator(tuple(sizes), (_RATIOS,) * len(sizes)),
        "box_roi_pool": MultiScaleRoIAlign(maps, output_size=7, sampling_ratio=2),
    }
