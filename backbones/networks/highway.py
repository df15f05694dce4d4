"""Highway networks for CIFAR (Srivastava et al. 2015), gated contemporaries in Table 6 of He et al. 2015."""

import torch
from torch import Tensor, nn

from backbones.networks.blocks import initialise
from backbones.spec import describe

# Depth: highway layers and channels of each stage. 19 is the authors' published CIFAR-10 network; of the 32
# layers they say the number and the parameters alone.
STAGES = {19: ((4, 32), (5, 80), (5, 128)), 32: ((9, 24), (9, 40), (9, 72))}
GATE_BIAS = -2.0  # the gates start at 0.12, nearly shut: each layer passes most of its input on


class HighwayLayer(nn.Module):
    """y = H(x) · T(x) + x · (1 − T(x)), H a 3x3 convolution with ReLU, T one with the logistic function."""

    activates_sum = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.conv(x).relu(), self.gate(x).sigmoid())

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The terms of the sum, x · (1 − T) and H · T."""
        gate = self.gate(x).sigmoid()
        return x * (1 - gate), self.conv(x).relu() * gate

    def bypass(self, x: Tensor) -> Tensor:
        """The layer with its gate shut."""
        return x


class HighwayNet(nn.Module):
    """Three stages at 32², 16², 8² pixels: each a convolution that sets the width, then highway layers.

    A 1x1 convolution to 100 channels, average pooling and the classifier follow; there is dropout before the
    stages and before the classifier, and no normalisation.
    The depth is 19 or 32.
    """

    stages = {
        "stem": ("dropout", "conv1", "relu"),
        "res2": ("layer1",),
        "res3": ("maxpool", "dropout", "conv2", "relu", "layer2"),
        "res4": ("maxpool", "dropout", "conv3", "relu", "layer3", "conv4", "relu"),
    }
    last_layer = "fc"

    def __init__(self, depth: int, *, num_classes: int) -> None:
        super().__init__()
        (n1, width1), (n2, width2), (n3, width3) = STAGES[depth]
        self.dropout = nn.Dropout(0.2)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.conv1 = nn.Conv2d(3, width1, 3, padding=1)
        self.layer1 = nn.Sequential(*(HighwayLayer(width1) for _ in range(n1)))
        self.conv2 = nn.Conv2d(width1, width2, 3, padding=1)
        self.layer2 = nn.Sequential(*(HighwayLayer(width2) for _ in range(n2)))
        self.conv3 = nn.Conv2d(width2, width3, 3, padding=1)
        self.layer3 = nn.Sequential(*(HighwayLayer(width3) for _ in range(n3)))
        self.conv4 = nn.Conv2d(width3, 100, 1)
        self.fc = nn.Linear(100, num_classes)
        initialise(self, zero_init_residual=False)
        for name, parameter in self.named_parameters():
            if name.endswith("bias") and name != "fc.bias":
                nn.init.constant_(parameter, GATE_BIAS if "gate" in name else 0.0)
        channels = (width1, width1, width2, 100)
        describe(self, f"highway{depth}_cifar", channels, strides=(1, 1, 2, 4), num_classes=num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pictures → (N, num_classes) logits."""
        x = self.layer1(self.relu(self.conv1(self.dropout(x))))
        x = self.layer2(self.relu(self.conv2(self.dropout(self.maxpool(x)))))
        x = self.layer3(self.relu(self.conv3(self.dropout(self.maxpool(x)))))
        x = self.relu(self.conv4(x))
        return self.fc(self.dropout(x.mean((2, 3))))
