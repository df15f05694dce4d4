"""CIFAR ResNets in the form of github.com/akamaster/pytorch_resnet_cifar10.

Names differ in the classifier and the shortcut of option B. Its option A differs in what it computes: it
puts half of the new zero channels before the old ones and half behind them, the paper's (and ours) all
behind. The order of channels is free, so that putting them in our order gives the same network.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from backbones.convert.foreign_weights import Contents, rename
from backbones.spec import IMAGENET_INPUT


def to_ours(tensors: Mapping[str, Tensor]) -> Contents:
    """Renamed, and with option A the channels in our order."""
    contents = rename(
        tensors, lambda name: re.sub(r"^linear\.", "fc.", name).replace(".shortcut.", ".downsample.")
    )
    contents.state = _reorder(contents.state, _orders(contents.state))
    contents.input_spec = IMAGENET_INPUT  # that project's, for CIFAR too
    return contents


def from_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    orders = {stage: torch.argsort(order) for stage, order in _orders(state).items()}
    return {
        re.sub(r"^fc\.", "linear.", name).replace(".downsample.", ".shortcut."): tensor
        for name, tensor in _reorder(state, orders).items()
    }


def _orders(state: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """Stages that option A reaches with other channels, and for each of ours which of theirs it is."""
    if any(".downsample." in name for name in state) or "conv1.weight" not in state:
        return {}
    order, orders = torch.arange(len(state["conv1.weight"])), {}
    for stage in (2, 3):
        half = len(order) // 2  # of the zeros stand before the old channels
        before, behind = torch.arange(half), torch.arange(half + len(order), 2 * len(order))
        orders[stage] = order = torch.cat((half + order, before, behind))
    return orders


def _reorder(state: Mapping[str, Tensor], orders: Mapping[int, Tensor]) -> dict[str, Tensor]:
    """Puts what leaves and enters each stage in another order of channels."""
    result = dict(state)
    for name, tensor in state.items():
        if name == "fc.weight" and 3 in orders:
            result[name] = tensor[:, orders[3]]
        found = re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn)(\d)\.(\w+)", name)
        if not found or tensor.ndim == 0:
            continue
        stage, block, kind, number = int(found[1]), int(found[2]), found[3], found[4]
        entered = stage if block else stage - 1
        if kind == "conv" and number == "1" and entered in orders:
            result[name] = tensor[:, orders[entered]]
        elif number == "2" and stage in orders:
            result[name] = tensor[orders[stage]]
    return result
