"""Networks cut for use elsewhere: named feature maps, and a trunk with a head per region (C4)."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from torch import Tensor, nn

from backbones.norm import freeze_batchnorm
from backbones.spec import FeatureSpec, InputSpec, Network
from foundation.errors import NoAttributeError, OptionError, check_choice


class FeatureNetwork(nn.Module):
    """A network's feature maps by name, made of its modules up to the last stage asked for, names included.

    Attributes:
        feature_specs: name → channels and stride, in the network's order.
        input_spec: the pictures it wants; callers normalise with it.
        out_channels: of the feature maps, under the name that torchvision's detectors ask for; absent if
            they differ.
        stages, name, options, folds: of the network, as far as they concern what is left of it.
    """

    input_spec: InputSpec
    stages: dict[str, Sequence[str]]
    name: str
    options: dict[str, Any]

    def __init__(self, network: Network, out_features: Sequence[str]) -> None:
        super().__init__()
        names = list(network.feature_specs)
        if not out_features or isinstance(out_features, str):  # a string would be taken letter by letter
            raise OptionError(
                f"out_features must be a list of names from {', '.join(names)}, got {out_features!r}"
            )
        for feature in out_features:
            check_choice("feature", feature, names)
        stages = list(network.stages)
        last = max(stages.index(feature) for feature in out_features)
        _take_over(self, network, {name: network.stages[name] for name in stages[: last + 1]})
        self.feature_specs = {name: network.feature_specs[name] for name in names if name in out_features}
        channels = {spec.channels for spec in self.feature_specs.values()}
        if len(channels) == 1:
            self.out_channels = channels.pop()

    def __getattr__(self, name: str) -> Any:
        """Says why there is no `out_channels`; nn.Module would say of any property that it does not exist.

        Raises:
            AttributeError: there is nothing of that name; as an OptionError if the channels differ.
        """
        if name == "out_channels":
            channels = sorted({spec.channels for spec in self.feature_specs.values()})
            raise NoAttributeError(
                f"{', '.join(self.feature_specs)} differ in channels ({channels}); "
                "ask for one feature, or join them with backbones.pyramid.Pyramid"
            )
        return super().__getattr__(name)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) normalised pictures → {name: (N, channels, ⌈H / stride⌉, ⌈W / stride⌉)}.

        VGG networks round sizes down.
        """
        features = {}
        x = images
        for feature, children in self.stages.items():
            for child in children:
                x = self.get_submodule(child)(x)
            if feature in self.feature_specs:
                features[feature] = x
        return features


class StageHead(nn.Module):
    """The stages after a split, applied to each region's features (conv5_x in the paper's appendix A).

    The head of a VGG is fc6 and fc7, which take regions of 7x7 pixels.

    Attributes:
        in_channels: of the features it takes.
        feature_specs: the last stage's name → channels, and stride relative to the head's input.
        input_spec, stages, name, options, folds: as of `FeatureNetwork`.
    """

    input_spec: InputSpec
    stages: dict[str, Sequence[str]]
    name: str
    options: dict[str, Any]

    def __init__(self, network: Network, split: str) -> None:
        super().__init__()
        stages = {**network.stages, **getattr(network, "region_stages", {})}
        specs = network.feature_specs | getattr(network, "region_specs", {})
        names = [name for name in stages if name in specs]
        if split not in names[:-1]:  # the last stage would leave nothing for the head
            raise OptionError(f"split must be one of {', '.join(names[:-1])}, got {split!r}")
        rest = names[names.index(split) + 1 :]
        _take_over(self, network, {name: stages[name] for name in rest})
        before, last = specs[split], specs[rest[-1]]
        self.in_channels = before.channels
        self.feature_specs = {rest[-1]: FeatureSpec(last.channels, last.stride // before.stride)}

    def forward(self, x: Tensor) -> Tensor:
        """(R, channels of the split, h, w) → (R, channels, ⌈h / stride⌉, ⌈w / stride⌉)."""
        for child in chain.from_iterable(self.stages.values()):
            x = self.get_submodule(child)(x)
        return x


def default_split(network: Network) -> str:
    """The last stage of the trunk that leaves one stage for the head, as in the paper: res4, VGG's conv5.

    Raises:
        OptionError: the network is one stage, as a plain transformer is.
    """
    if len(network.stages) < 2:
        raise OptionError(
            f"{network.name} is one stage, {', '.join(network.stages)}, and cannot be cut in two; "
            "take its map with create_backbone, in a detector with detector.kind=simple_fpn"
        )
    return list(network.stages)[-1 if hasattr(network, "region_stages") else -2]


def _take_over(part: Any, network: Network, stages: Mapping[str, Sequence[str]]) -> None:
    """Makes the children in these stages those of a part, under the names that they have in the network.

    With them go the network's name, options, pictures and `folds` (see `backbones.norm.fold_batchnorm`).
    """
    children = list(chain.from_iterable(stages.values()))
    for child in children:
        *parents, name = child.split(".")
        module = part
        for parent in parents:
            if parent not in dict(module.named_children()):
                module.add_module(parent, nn.Module())
            module = module.get_submodule(parent)
        module.add_module(name, network.get_submodule(child))
    part.stages, part.name, part.input_spec = stages, network.name, network.input_spec
    part.options = {key: value for key, value in network.options.items() if key != "num_classes"}
    part.folds = tuple(pair for pair in getattr(network, "folds", ()) if set(pair) <= set(children))


def freeze_stages(network: FeatureNetwork, num_stages: int) -> None:
    """Fixes the first stages: parameters without gradient, batch normalisation frozen.

    Two stages are the stem and res2, of a VGG conv1 and conv2, as in Fast R-CNN.

    Raises:
        OptionError: num_stages is negative or more than the network has.
    """
    if not 0 <= num_stages <= len(network.stages):
        raise OptionError(
            f"frozen_stages must be 0 … {len(network.stages)} ({', '.join(network.stages)}), got {num_stages}"
        )
    for child in chain.from_iterable(list(network.stages.values())[:num_stages]):
        network.set_submodule(child, freeze_batchnorm(network.get_submodule(child)).requires_grad_(False))
