"""Feature pyramids on our networks (FPN, Lin et al. 2017)."""

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from backbones.features import FeatureNetwork
from backbones.spec import FeatureSpec


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
