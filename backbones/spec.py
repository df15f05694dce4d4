"""What a network publishes about itself: its name, its features, and the pictures it wants."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from foundation.errors import OptionError, check_choice


@dataclass(frozen=True)
class FeatureSpec:
    """Channels of a feature map, and its stride in pixels of the network's input."""

    channels: int
    stride: int


@dataclass(frozen=True)
class InputSpec:
    """The pictures a network was trained on.

    mean and std are in the network's own channel order and range: Caffe's networks have order "BGR",
    range 255 and mean (103.53, 116.28, 123.675), in that order.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    order: Literal["RGB", "BGR"] = "RGB"
    range: float = 1.0

    def __post_init__(self) -> None:
        check_choice("channel order", self.order, ("RGB", "BGR"))
        if self.range not in (1.0, 255.0):
            raise OptionError(f"range must be 1.0 (pixels 0-1) or 255.0 (pixels 0-255), got {self.range!r}")
        values = (*self.mean, *self.std)
        sound = all(isinstance(value, int | float) and math.isfinite(value) for value in values)
        if len(self.mean) != 3 or len(self.std) != 3 or not sound or min(self.std) <= 0:
            raise OptionError(f"mean and std need three numbers, std above 0; got {self.mean} and {self.std}")

    def normalise(self, images: Tensor) -> Tensor:
        """Turns pictures as we hold them into what the network was trained on.

        Args:
            images: (N, 3, H, W) RGB in 0-255, uint8 or floating point.
        Returns:
            (N, 3, H, W) float32 in this specification's order and range, mean subtracted, divided by std;
            the memory format is kept.
        """
        scale, shift = scale_and_shift(self, images.device)
        pixels = images.flip(1) if self.order == "BGR" else images
        return torch.addcmul(shift, pixels.to(torch.float32), scale)

    def pixels(self, images: Tensor) -> Tensor:
        """Undoes `normalise`, but for rounding: (N, 3, H, W) as the network sees them → uint8 RGB."""
        scale, shift = scale_and_shift(self, images.device)
        pixels = (images.float() - shift) / scale
        pixels = pixels.flip(1) if self.order == "BGR" else pixels
        return pixels.round().clamp(0, 255).byte()

    def as_unit_rgb(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation for hosts that feed RGB in 0-1, as timm and torchvision's detectors do.

        Raises:
            OptionError: the order is BGR, which no mean or deviation can express.
        """
        if self.order != "RGB":
            raise OptionError(
                f"this host feeds RGB, the network was trained on {self.order}; rewrite its first "
                "convolution: tools/convert_weights.py FILE OUT.safetensors --input imagenet"
            )
        return self.scaled(1.0)

    def scaled(self, range: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation for pixels of another range, 0-1 or 0-255."""
        mean, std = (
            tuple(value * range / self.range for value in values) for values in (self.mean, self.std)
        )
        return mean, std


@lru_cache(maxsize=64)
def scale_and_shift(spec: InputSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """(3, 1, 1) scale and shift with normalised = pixels * scale + shift.

    Cached because a copy to the GPU in every step would wait for it.
    """
    with torch.inference_mode(False):  # a tensor made in inference mode could never meet autograd again
        mean, std = (
            torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (spec.mean, spec.std)
        )
        scale, shift = spec.range / 255 / std, -mean / std
        return scale.float().to(device), shift.float().to(device)  # rounded before: mps has no float64


# torchvision's and timm's statistics of the ImageNet training set.
IMAGENET_INPUT = InputSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class Network(nn.Module):
    """What every classifier of ours publishes.

    This class serves annotations alone: networks derive from `nn.Module`, state `stages` and `last_layer` in
    their class, and set the rest with `describe`. Two more attributes may be absent: `folds` (see
    `backbones.norm.fold_batchnorm`), and `region_stages` with `region_specs`, which are stages that only a
    head per region has.

    Attributes:
        name, options: what `backbones.create_model` builds it from.
        stages: feature → the children that compute it from the feature before; a child may come again.
        feature_specs: feature → channels and stride.
        input_spec: pictures it was trained on; of random networks ImageNet's.
        last_layer: the linear layer that ends the classifier.
    """

    name: str
    options: dict[str, Any]
    stages: Mapping[str, Sequence[str]]
    feature_specs: dict[str, FeatureSpec]
    input_spec: InputSpec
    last_layer: str


# Options that came later are stated only where they differ from these: older files lack them.
LATER_OPTIONS: dict[str, Any] = {
    "stem_pool": "padded",
    "dilation": [],
    "bottlenecks": False,
    "unit": "original",
    "scaling": [0.5, 0.5],
    "gate_bias": -6.0,
}


def describe(
    network: Any, name: str, channels: Sequence[int], strides: Sequence[int], **options: Any
) -> None:
    """Sets the attributes of `Network` that belong to an instance.

    Args:
        network: its class states `stages`, or it has set them.
        channels, strides: of each stage's feature, in order.
        options: with which it was built.
    """
    network.name, network.input_spec = name, IMAGENET_INPUT
    network.options = {
        option: value
        for option, value in options.items()
        if option not in LATER_OPTIONS or value != LATER_OPTIONS[option]
    }
    specs = map(FeatureSpec, channels, strides)
    network.feature_specs = dict(zip(network.stages, specs, strict=True))
