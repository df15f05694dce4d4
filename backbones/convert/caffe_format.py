"""The original Caffe release (github.com/KaimingHe/deep-residual-networks), by layer names.

Caffe keeps normalisation in two layers: BatchNorm with mean, variance and a factor that both are to be
divided by, and Scale with weight and bias. ResNet-50's conv1 has a bias, which our networks do not: behind it
stands a normalisation, so that subtracting it from the mean is the same.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from backbones.convert.caffemodel import Layer
from backbones.convert.foreign_weights import Contents, without_counters

_BLOCK = re.compile(r"(res|bn|scale)(\d)([a-z])(\d*)_branch(1|2[abc])")
_STEM = {"conv1": "conv", "bn_conv1": "bn", "scale_conv1": "scale"}
_PARTS = {
    "1": ("downsample.0", "downsample.1"),
    **{f"2{letter}": (f"conv{number}", f"bn{number}") for number, letter in enumerate("abc", 1)},
}
_BRANCHES = {part: branch for branch, parts in _PARTS.items() for part in parts}


def to_ours(layers: Sequence[Layer]) -> Contents:
    """Renamed, statistics divided by their factor, a bias before a normalisation moved into its mean."""
    contents = Contents({}, stride_on="1x1", stem_pool="ceil")
    biases = {}
    for layer in layers:
        kind, name = _our_module(layer.name)
        blobs = [blob.float() for blob in layer.blobs]
        if kind == "conv" and len(blobs) in (1, 2):
            contents.state[f"{name[0]}.weight"] = blobs[0]
            if len(blobs) == 2:
                biases[name[1]] = (layer.name, blobs[1].flatten())
        elif kind == "bn" and len(blobs) == 3:
            factor = blobs[2].flatten()[0]
            divisor = factor if factor else torch.tensor(torch.inf)  # as Caffe: nothing was counted
            contents.state[f"{name[1]}.running_mean"] = blobs[0].flatten() / divisor
            contents.state[f"{name[1]}.running_var"] = blobs[1].flatten() / divisor
        elif kind in ("scale", "fc") and len(blobs) == 2:
            weight = blobs[0].flatten() if kind == "scale" else blobs[0].reshape(-1, blobs[0].shape[-1])
            contents.state |= {f"{name[1]}.weight": weight, f"{name[1]}.bias": blobs[1].flatten()}
        else:
            contents.unused |= {f"{layer.name}[{i}]": blob for i, blob in enumerate(blobs)}
    for norm, (layer_name, bias) in biases.items():
        mean = contents.state.get(f"{norm}.running_mean")
        if mean is None or mean.shape != bias.shape:
            contents.unused[f"{layer_name}[1]"] = bias
        else:
            contents.state[f"{norm}.running_mean"] = mean - bias
    return contents


def from_ours(state: Mapping[str, Tensor]) -> list[Layer]:
    """Layers as in the release: blocks named by letter, in conv3 and conv4 of 101 and 152 by number."""
    state = without_counters(state)
    numbered = "layer3.6.conv1.weight" in state
    layers = []
    for name, tensor in state.items():
        if name == "fc.weight":
            bias = state["fc.bias"]
            layers.append(Layer(f"fc{len(tensor)}", [tensor, bias], "InnerProduct"))
        elif tensor.ndim == 4:
            layers += _conv_and_norm(state, name.removesuffix(".weight"), numbered)
    return layers


def _our_module(name: str) -> tuple[str, tuple[str, str]]:
    """ "conv", "bn", "scale", "fc" or "", and our names of the convolution and its normalisation."""
    if name in _STEM:
        return _STEM[name], ("conv1", "bn1")
    if re.fullmatch(r"fc\d+", name):
        return "fc", ("fc", "fc")
    found = _BLOCK.fullmatch(name)
    if found is None:
        return "", ("", "")
    kind, stage, letter, number, branch = found.groups()
    block = int(number) if number else ord(letter) - ord("a")
    conv, norm = (f"layer{int(stage) - 1}.{block}.{part}" for part in _PARTS[branch])
    return ("conv" if kind == "res" else kind), (conv, norm)


def _conv_and_norm(state: Mapping[str, Tensor], conv: str, numbered: bool) -> list[Layer]:
    """The three layers of a convolution: itself, BatchNorm and Scale, by Caffe's names."""
    if conv == "conv1":
        norm, names = "bn1", list(_STEM)
    else:
        layer, block, part = conv.split(".", 2)
        stage, index = int(layer.removeprefix("layer")) + 1, int(block)
        letter = f"b{index}" if numbered and stage in (3, 4) and index else chr(ord("a") + index)
        branch = _BRANCHES[part]
        norm = f"{layer}.{block}.{_PARTS[branch][1]}"
        names = [f"{kind}{stage}{letter}_branch{branch}" for kind in ("res", "bn", "scale")]
    weight, bias, mean, var = (
        state[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    blobs = [state[f"{conv}.weight"]]
    if conv == "conv1" and not numbered:
        blobs.append(torch.zeros_like(bias))  # the prototxt of ResNet-50 expects one
    return [
        Layer(names[0], blobs, "Convolution"),
        Layer(names[1], [mean, var, torch.ones(1)], "BatchNorm"),
        Layer(names[2], [weight, bias], "Scale"),
    ]
