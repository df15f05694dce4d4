"""The mask head of Mask R-CNN (He et al. 2017): a mask per class for every region."""

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from training.config import require_between


@dataclass(frozen=True)
class MaskConfig:
    """Options of the mask head (He et al. 2017, figure 4); c4 takes only `channels` from here.

    Attributes:
        size: cells a side of the grid that dc5 and fpn pool, half a mask's; c4 reads what conv5 gives.
        channels: channels of all convolutions but the last.
        convolutions: number of 3x3 convolutions before the one that doubles the size; c4 has none.
    """

    size: int = 14
    channels: int = 256
    convolutions: int = 4

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "size", "channels")
        require_between(self, 0, math.inf, "convolutions")


class MaskHead(nn.Module):
    """3x3 convolutions, a transposed one that doubles the size, and one output for each of num_classes."""

    compile_whole = True  # by run.compile

    def __init__(self, in_channels: int, num_classes: int, options: MaskConfig) -> None:
        super().__init__()
        channels = options.channels
        widths = [in_channels, *[channels] * options.convolutions]
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True))
                for before, after in pairwise(widths)
            )
        )
        self.upsample = nn.ConvTranspose2d(widths[-1], channels, 2, stride=2)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.zeros_(parameter)
        # As detectron2: every first mask is one half everywhere, whatever the region.
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, regions: Tensor) -> Tensor:
        """(R, in_channels, h, w) → logits (R, K, 2h, 2w), float32."""
        return self.classifier(self.upsample(self.convolutions(regions)).relu_()).float()


def of_class(masks: Tensor, labels: Tensor) -> Tensor:
    """(R, K, M, M) masks of all classes and (R,) labels 1…K → (R, M, M); of label 0 the first class's."""
    index = (labels - 1).clamp(min=0).view(-1, 1, 1, 1)
    return masks.gather(1, index.expand(-1, 1, *masks.shape[2:])).squeeze(1)
