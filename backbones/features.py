"""Networks cut for use elsewhere: named feature maps, and a trunk with a head per region (C4)."""

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.cifar import CifarResNet
from backbones.norm import freeze_batchnorm
from backbones.resnet import ResNet
from backbones.spec import FeatureSpec, OptionError, check_choice

Network = ResNet | CifarResNet


class FeatureNetwork(nn.Module):
    """A network's feature maps by name; stages after the last one asked for are left out.

    Parameter names stay the network's, whose modules it takes over.

    Attributes:
        feature_specs: name → channels and stride, in the network's order.
        input_spec: the pictures it wants; callers normalise with it.
    """

    def __init__(self, network: Network, out_features: Sequence[str]) -> None:
        super().__init__()
        names = list(network.stages)
        if not out_features or isinstance(out_features, str):  # a string would be taken letter by letter
            raise OptionError(
                f"out_features must be a list of names from {', '.join(names)}, got {out_features!r}"
            )
        for feature in out_features:
            check_choice("feature", feature, names)
        last = max(names.index(feature) for feature in out_features)
        self.stages = {name: network.stages[name] for name in names[: last + 1]}
        for child in [child for children in self.stages.values() for child in children]:
            self.add_module(child, getattr(network, child))
        self.feature_specs = {name: network.feature_specs[name] for name in names if name in out_features}
        self.input_spec, self.name = network.input_spec, network.name
        self.options = {key: value for key, value in network.options.items() if key != "num_classes"}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) normalised pictures → {name: (N, channels, ⌈H / stride⌉, ⌈W / stride⌉)}."""
        features = {}
        x = images
        for feature, children in self.stages.items():
            for child in children:
                x = getattr(self, child)(x)
            if feature in self.feature_specs:
                features[feature] = x
        return features


class StageHead(nn.Module):
    """The stages after a split, applied to each region's features (conv5_x in the paper's appendix A).

    Attributes:
        in_channels: of the features it takes.
        feature_specs: the last stage's name → channels, and stride relative to the head's input.
    """

    def __init__(self, network: Network, split: str) -> None:
        super().__init__()
        names = list(network.stages)
        if split not in names[:-1]:  # the last stage would leave nothing for the head
            raise OptionError(f"split must be one of {', '.join(names[:-1])}, got {split!r}")
        rest = names[names.index(split) + 1 :]
        self.children_in_order = [child for name in rest for child in network.stages[name]]
        for child in self.children_in_order:
            self.add_module(child, getattr(network, child))
        before, last = network.feature_specs[split], network.feature_specs[rest[-1]]
        self.in_channels = before.channels
        self.feature_specs = {rest[-1]: FeatureSpec(last.channels, last.stride // before.stride)}
        self.input_spec, self.name = network.input_spec, network.name
        self.options = {key: value for key, value in network.options.items() if key != "num_classes"}

    def forward(self, x: Tensor) -> Tensor:
        """(R, channels of the split, h, w) → (R, channels, ⌈h / stride⌉, ⌈w / stride⌉)."""
        for child in self.children_in_order:
            x = getattr(self, child)(x)
        return x


def freeze_stages(network: FeatureNetwork, num_stages: int) -> None:
    """Fixes the first stages: parameters without gradient, batch normalisation frozen. 2: stem and res2.

    Raises:
        OptionError: num_stages is negative or more than the network has.
    """
    if not 0 <= num_stages <= len(network.stages):
        raise OptionError(
            f"frozen_stages must be 0 … {len(network.stages)} ({', '.join(network.stages)}), got {num_stages}"
        )
    for children in list(network.stages.values())[:num_stages]:
        for child in children:
            setattr(network, child, freeze_batchnorm(getattr(network, child)).requires_grad_(False))
