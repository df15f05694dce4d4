"""torchvision's ResNets, and timm's of the same names: our names are theirs.

Weights "V1" and "V2" are of one network and differ in numbers only.
"""

from collections.abc import Mapping

from torch import Tensor

from backbones.convert.foreign_weights import Contents, rename
from backbones.spec import IMAGENET_INPUT


def to_ours(tensors: Mapping[str, Tensor]) -> Contents:
    """The same tensors, of a network for torchvision's pictures with the stride on the 3x3 convolution."""
    contents = rename(tensors, lambda name: name)
    contents.input_spec, contents.stride_on = IMAGENET_INPUT, "3x3"
    return contents


def from_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(state)
