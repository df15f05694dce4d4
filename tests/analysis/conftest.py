"""Small networks whose answers are known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis.arrays import Arrays
from analysis.gradients import GradientsOptions
from analysis.kinds import KINDS
from analysis.lesions import LesionOptions
from analysis.maps.heat_maps import HeatmapOptions
from analysis.maps.receptive_fields import ReceptiveOptions
from analysis.paths import PathsOptions
from analysis.responses import ResponsesOptions
from analysis.signal import SignalOptions
from analysis.similarity import SimilarityOptions
from analysis.surface import SurfaceOptions
from backbones import create_model
from backbones.norm import calibrate_batchnorm

Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture(scope="session")
def batches() -> Batches:
    """Two batches of 6 and 4 noise pictures of 16x16 with labels of three classes."""
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(n, 3, 16, 16, generator=generator), torch.randint(3, (n,), generator=generator))
        for n in (6, 4)
    ]


@pytest.fixture(scope="session")
def small_options() -> dict[str, Any]:
    """Options of every analysis, small enough for a test."""
    return {
        "responses": ResponsesOptions(),
        "signal": SignalOptions(),
        "lesion": LesionOptions(drawn_pictures=8, draws=2),
        "paths": PathsOptions(),
        "gradients": GradientsOptions(lines=2, points=20),
        "similarity": SimilarityOptions(),
        "surface": SurfaceOptions(points=3),
        "receptive": ReceptiveOptions(side=24),
        "heatmap": HeatmapOptions(),
    }


@pytest.fixture(scope="session")
def measured(small_options: dict[str, Any]) -> Callable[..., Arrays]:
    """What an analysis finds in batches; one of pairs, in a network and itself."""

    def measure(name: str, network: Any, batches: Batches) -> Arrays:
        if KINDS[name].of_pairs:
            pairs = [(images, images) for images, _ in batches]
            return KINDS[name].measure(network, network, pairs, small_options[name], 0)
        return KINDS[name].measure(network, batches, small_options[name], 0)

    return measure


@pytest.fixture(scope="session")
def random_network(batches: Batches) -> Callable[..., Any]:
    """A network of three classes in evaluation mode, with statistics and affine parts as after a training."""

    def make(name: str, **options: Any) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = create_model(name, num_classes=3, **options)
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.weight, 0.5, 1.0)
                    nn.init.normal_(module.bias, std=0.2)
        calibrate_batchnorm(model, [batches[0][0]])
        return model.eval()

    return make


@pytest.fixture
def linear_network() -> Callable[[float], Any]:
    """ResNet-20 of which every residual is `gain` times its input, where that is above zero.

    Convolutions pass each channel on, normalisation changes nothing; what enters the first block is positive
    or zero, so that no ReLU behind it cuts anything off.
    """

    def make(gain: float) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model: Any = create_model("resnet20_cifar", num_classes=3)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0
        for layer in (model.layer1, model.layer2, model.layer3):
            for block in layer:
                for conv, value in ((block.conv1, 1.0), (block.conv2, gain)):
                    nn.init.zeros_(conv.weight)
                    for channel in range(conv.in_channels):
                        conv.weight.data[channel, channel, 1, 1] = value
        return model.eval()

    return make
