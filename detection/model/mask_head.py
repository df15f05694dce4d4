"""The mask head of Mask R-CNN (He et al. 2017): a mask per class for every region."""

from itertools import pairwise

from torch import Tensor, nn


class MaskHead(nn.Module):
    """3x3 convolutions, a transposed one that doubles the size, and one output a class.

    With four convolutions the head on a pyramid, without any the one on conv5 (He et al. 2017, figure 4).

    Args:
        in_channels: of the regions.
        num_classes: K, without background.
        channels: of the convolutions.
        convolutions: how many, at the regions' size.
    """

    compile_whole = True  # by run.compile

    def __init__(
        self, in_channels: int, num_classes: int, *, channels: int = 256, convolutions: int = 4
    ) -> None:
        super().__init__()
        widths = [in_channels, *[channels] * convolutions]
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
