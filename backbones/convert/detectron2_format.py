"""detectron2's ResNets: its own names, whole detectors, and the older ones of Caffe2 (MSRA's weights).

Facts from detectron2's c2_model_loading.py, resnet.py and model catalog. In Caffe2's files batch
normalisation is folded into a scale and a shift; they become statistics 0 and 1 - eps, with which ours, which
adds eps to the variance, computes the scale and shift alone. Such weights are for frozen normalisation.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from backbones.convert.foreign_weights import MSRA_INPUT, Contents, rename, without_counters
from backbones.families import find_family
from backbones.norm import DEFAULT_EPS
from backbones.weights.weights_header import WeightsHeader

_CLASSIFIERS = r"(?:linear|fc1000|stem\.fc|fc)\.(weight|bias)"
_NORM = r"norm\.(weight|bias|running_mean|running_var)"
_CAFFE2 = r"(?:(?:res_)?conv1|(pred|fc1000)|(res\d)_(\d+)_branch(1|2[abc]))_(w|b|bn_s|bn_b)"
_BRANCHES = {"1": "shortcut", "2a": "conv1", "2b": "conv2", "2c": "conv3"}
_LEAVES = {"w": "weight", "b": "bias", "bn_s": "norm.weight", "bn_b": "norm.bias"}
_BACKBONES = ("backbone.bottom_up.", "backbone.", "bottom_up.")
_BACKBONE_PARTS = ("stem.conv1", "conv1", "res")
_RES5_OF_C4 = "roi_heads.res5."


def to_ours(tensors: Mapping[str, Tensor]) -> Contents:
    """Renamed; of a detector, its backbone, with conv5 in the heads of C4."""
    prefix = next((text for text in _BACKBONES if any(name.startswith(text) for name in tensors)), "")
    contents = rename(without_counters(tensors), lambda name: _our_name(name, prefix))
    caffe2 = "conv1_w" in tensors
    if caffe2:
        contents.input_spec, contents.stride_on = MSRA_INPUT, "1x1"
    if prefix or caffe2:
        backbone = tuple(prefix + part for part in _BACKBONE_PARTS)
        contents.rest_of_detector = {name for name in contents.unused if not name.startswith(backbone)}
    if caffe2 or not any(name.endswith("running_mean") for name in contents.state):
        norms = [name for name in contents.state if re.search(r"\b(bn\d|downsample\.1)\.weight$", name)]
        for name in norms:
            weight, norm = contents.state[name], name.removesuffix("weight")
            contents.state[f"{norm}running_mean"] = torch.zeros_like(weight)
            contents.state[f"{norm}running_var"] = torch.ones_like(weight) - DEFAULT_EPS
        if (bias := contents.unused.pop("conv1_b", None)) is not None:  # about 1e-9; detectron2 leaves it out
            contents.state["bn1.running_mean"] = -bias
            contents.folded.add("conv1_b")
        contents.note = 'batch normalisation is folded into scale and shift: use norm="frozen"'
    return contents


def from_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_their_name(name): tensor for name, tensor in without_counters(state).items()}


def _our_name(name: str, prefix: str) -> str | None:
    if prefix and name.startswith(_RES5_OF_C4):
        name = name.removeprefix("roi_heads.")
    elif not name.startswith(prefix):
        return None
    else:
        name = _from_caffe2(name.removeprefix(prefix))
    if found := re.fullmatch(_CLASSIFIERS, name):
        return f"fc.{found[1]}"
    if found := re.fullmatch(rf"stem\.conv1\.(?:(weight)|{_NORM})", name):
        return "conv1.weight" if found[1] else f"bn1.{found[2]}"
    found = re.fullmatch(rf"res(\d)\.(\d+)\.(?:conv(\d)|shortcut)\.(?:(weight)|{_NORM})", name)
    if found is None:
        return None
    stage, block, number, weight, norm = found.groups()
    conv, bn = (f"conv{number}", f"bn{number}") if number else ("downsample.0", "downsample.1")
    return f"layer{int(stage) - 1}.{block}.{f'{conv}.weight' if weight else f'{bn}.{norm}'}"


def _from_caffe2(name: str) -> str:
    """The name that detectron2 gives to one of Caffe2's; others as they are."""
    found = re.fullmatch(_CAFFE2, name)
    if found is None:
        return name
    linear, stage, block, branch, leaf = found.groups()
    module = "linear" if linear else f"{stage}.{block}.{_BRANCHES[branch]}" if stage else "stem.conv1"
    return f"{module}.{_LEAVES[leaf]}"


def _their_name(name: str) -> str:
    name = re.sub(r"^layer(\d)", lambda found: f"res{int(found[1]) + 1}", name)
    name = re.sub(r"^(conv1|bn1)\.", r"stem.\1.", name)
    name = re.sub(r"\bbn(\d)\.", r"conv\1.norm.", name)
    name = name.replace(".downsample.0.", ".shortcut.").replace(".downsample.1.", ".shortcut.norm.")
    return re.sub(r"^fc\.", "linear.", name)


def settings(header: WeightsHeader) -> str:
    """detectron2's configuration for these weights."""
    mean, std = ([round(value, 4) for value in values] for values in header.input_spec.scaled(255.0))
    _, arguments = find_family(header.model)
    depth, groups, width = (arguments.get(name, 1) for name in ("depth", "groups", "width"))
    keys = {"MODEL.RESNETS.DEPTH": depth}
    if depth < 50:
        keys |= {"MODEL.RESNETS.RES2_OUT_CHANNELS": 64}
    elif width > 1:
        keys |= {"MODEL.RESNETS.NUM_GROUPS": groups, "MODEL.RESNETS.WIDTH_PER_GROUP": 64 * width // groups}
    keys |= {"MODEL.RESNETS.STRIDE_IN_1X1": header.options.get("stride_on") == "1x1"}
    pictures = {"INPUT.FORMAT": header.input_spec.order, "MODEL.PIXEL_MEAN": mean, "MODEL.PIXEL_STD": std}
    return " ".join(f"{key} {value}" for key, value in (keys | pictures).items())
