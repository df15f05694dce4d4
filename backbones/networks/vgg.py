"""VGG-16 and VGG-19 (Simonyan and Zisserman 2015), the detection baseline, on torchvision's networks."""

from torch import Tensor, nn

from backbones.spec import FeatureSpec, describe
from foundation.errors import OptionError

# Places in torchvision's `features` of the poolings that begin conv2 … conv5, and of the last one.
POOLINGS = {16: (4, 9, 16, 23, 30), 19: (4, 9, 18, 27, 36)}
REGION = 7  # pixels a side of what fc6 takes


class RegionsToVectors(nn.Module):
    """(R, C, 7, 7) → (R, C · 7 · 7); fc6 has weights for that size alone."""

    def __init__(self, network: str) -> None:
        super().__init__()
        self.network = network

    def forward(self, regions: Tensor) -> Tensor:
        if regions.shape[2:] != (REGION, REGION):
            size = "x".join(map(str, regions.shape[2:]))
            raise OptionError(
                f"{self.network}: fc6 takes regions of {REGION}x{REGION}, got {size}; "
                f"pool them to that size (in detectors roi.size={REGION})"
            )
        return regions.flatten(1)


class VGG(nn.Module):
    """Thirteen or sixteen 3x3 convolutions in five stages, then fc6, fc7 and the classifier.

    Features are conv1 … conv5, each before the pooling that ends it; sizes are rounded down. A region's
    features pass fc6 and fc7 in place of the last pooling, as in Fast R-CNN. Parameter names are
    torchvision's. The depth is 16 or 19.
    """

    # What only a head per region has, after the stages.
    region_stages = {"fc": ("to_vectors", *(f"classifier.{i}" for i in range(6)), "to_maps")}
    region_specs = {"fc": FeatureSpec(4096, 16 * REGION)}
    last_layer = "classifier.6"

    def __init__(self, depth: int, *, num_classes: int) -> None:
        from torchvision import models  # here, because no other network needs it

        super().__init__()
        name = f"vgg{depth}"
        network = getattr(models, name)(num_classes=num_classes)
        self.features, self.avgpool, self.classifier = network.features, network.avgpool, network.classifier
        self.to_vectors, self.to_maps = RegionsToVectors(name), nn.Unflatten(1, (-1, 1, 1))
        bounds = (0, *POOLINGS[depth])
        self.stages = {
            f"conv{i + 1}": tuple(f"features.{layer}" for layer in range(bounds[i], bounds[i + 1]))
            for i in range(5)
        }
        channels = (64, 128, 256, 512, 512)
        describe(self, name, channels, strides=(1, 2, 4, 8, 16), num_classes=num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pictures → (N, num_classes) logits."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))
