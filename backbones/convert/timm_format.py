"""torchvision's and timm's ResNets, whose names are ours, and timm's pre-activation networks `resnetv2_*`.

A pre-activation network of timm pools before the first normalisation and ReLU, ours and the paper's behind
them. With a positive factor the order makes no difference, and a convolution before a normalisation can
change its sign to give it one. Its networks of 18 and 34 layers moreover hand the first shortcut what has not
been normalised; they have no equal here.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from backbones.convert.foreign_weights import Contents, rename
from backbones.spec import IMAGENET_INPUT
from foundation.errors import WeightsError

_SUBSTITUTIONS = (  # ours, timm's
    ("conv1.", "stem.conv."),
    ("bn1.", "stages.0.blocks.0.norm1."),
    ("bn_last.", "norm."),
    ("fc.", "head.fc."),
)


def from_torchvision(tensors: Mapping[str, Tensor]) -> Contents:
    """The same tensors, of a network for torchvision's pictures with the stride on the 3x3 convolution.

    Weights "V1" and "V2" are of one network and differ in numbers only.
    """
    contents = rename(tensors, lambda name: name)
    contents.input_spec, contents.stride_on = IMAGENET_INPUT, "3x3"
    return contents


def to_ours(tensors: Mapping[str, Tensor]) -> Contents:
    """Renamed where they differ; the statistics of the pictures stand in timm's `pretrained_cfg`, not here.

    Raises:
        WeightsError: a pre-activation network that has no equal here.
    """
    if "stem.conv.weight" not in tensors:
        contents = rename(tensors, lambda name: name)
    else:
        contents = rename(tensors, _our_name)
        if "layer1.0.downsample.0.weight" not in contents.state:
            raise WeightsError(
                "timm's resnetv2_18 and 34 do not normalise before the first shortcut, the networks of the "
                "paper and of this toolkit do; no conversion is exact, train preact_resnet18 or 34 here"
            )
        negative = int((contents.state.get("bn1.weight", torch.ones(1)) < 0).sum())
        if negative:
            raise WeightsError(
                f"{negative} channels of stages.0.blocks.0.norm1 have a negative factor; timm pools before "
                "that normalisation and this toolkit behind it, which differs there; no conversion is exact"
            )
        _flatten_classifier(contents.state, ndim=2)
    contents.stride_on = "3x3"
    return contents


def from_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if "bn_last.weight" not in state:
        return dict(state)
    # The same network, the first convolution negated where the normalisation's factor is negative.
    sign = torch.where(state["bn1.weight"] < 0, -1.0, 1.0)
    state = dict(state) | {name: state[name] * sign for name in ("bn1.weight", "bn1.running_mean")}
    state["conv1.weight"] = state["conv1.weight"] * sign.view(-1, 1, 1, 1)
    _flatten_classifier(state, ndim=4)
    return {_their_name(name): tensor for name, tensor in state.items()}


def _our_name(name: str) -> str | None:
    for ours, theirs in _SUBSTITUTIONS:
        if name.startswith(theirs):
            return name.replace(theirs, ours, 1)
    found = re.fullmatch(r"stages\.(\d)\.blocks\.(\d+)\.(norm|conv|downsample\.conv)(\d?)\.(\w+)", name)
    if found is None:
        return None
    stage, block, kind, number, leaf = found.groups()
    part = {"norm": f"bn{number}", "conv": f"conv{number}"}.get(kind, "downsample.0")
    return f"layer{int(stage) + 1}.{block}.{part}.{leaf}"


def _their_name(name: str) -> str:
    for ours, theirs in _SUBSTITUTIONS:
        if name.startswith(ours):
            return name.replace(ours, theirs, 1)
    name = re.sub(r"^layer(\d)\.(\d+)", lambda found: f"stages.{int(found[1]) - 1}.blocks.{found[2]}", name)
    return re.sub(r"\.bn(\d)\.", r".norm\1.", name).replace(".downsample.0.", ".downsample.conv.")


def _flatten_classifier(state: dict[str, Tensor], ndim: int) -> None:
    """timm's classifier is a 1x1 convolution."""
    if "fc.weight" in state:
        rows, columns = state["fc.weight"].shape[:2]
        state["fc.weight"] = state["fc.weight"].reshape(rows, columns, *[1] * (ndim - 2))
