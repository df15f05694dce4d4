"""A network without some of its blocks, or with blocks in each other's place (Veit et al. 2016, §4).

A block is named by its stage and its place in it, from 0: "res3.1" is `layer2.1` of a ResNet.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import Tensor, nn

from foundation.errors import OptionError, check_choice


class Bypassed(nn.Module):
    """What remains of a block when its residual is deleted."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block
        self.training = block.training

    def forward(self, x: Tensor) -> Tensor:
        return self.bypass(x)

    def bypass(self, x: Tensor) -> Tensor:
        """The same, since a block whose residual is deleted has none left."""
        return self.block.bypass(x)


def find_blocks(model: nn.Module) -> dict[str, list[str]]:
    """The blocks of every network of ours inside a model: a classifier, a trunk and its head, a detector.

    Returns:
        Name → the module's paths below `model`, in the order in which data pass: one path for each network
        that has such a block. Empty where there are no blocks, as in VGG and in timm's networks.
    """
    found: dict[str, list[str]] = {}
    seen: set[int] = set()  # a compiled network stands in its wrapper a second time
    for prefix, network in model.named_modules():
        stages = getattr(network, "stages", None)
        for stage, children in stages.items() if isinstance(stages, Mapping) else ():
            for child in children:
                for number, block in network.get_submodule(child).named_children():
                    if hasattr(block, "bypass") and id(block) not in seen:
                        seen.add(id(block))
                        path = ".".join(filter(None, (prefix, child, number)))
                        found.setdefault(f"{stage}.{number}", []).append(path)
    return found


def without_blocks(model: nn.Module, names: Sequence[str]) -> AbstractContextManager[None]:
    """Within the block of code the model runs without the residuals of these blocks, only their shortcuts.

    A plain block has no shortcut: its input passes, where the shape changes by option A. Modules change
    places meanwhile, and with them the names in `state_dict`.

    Args:
        names: as `find_blocks` gives them; none leaves the model whole.
    Raises:
        OptionError: the model has no such block.
    """
    return _replaced(model, {path: Bypassed(model.get_submodule(path)) for path in _paths(model, names)})


def reordered_blocks(model: nn.Module, order: Mapping[str, str]) -> AbstractContextManager[None]:
    """Within the block of code other blocks stand at these places.

    Args:
        order: place → the block that stands there, both as `find_blocks` names them; the blocks must be of
            the shape of those that they replace, which is not checked (see `same_shapes`).
    Raises:
        OptionError: the network has no such block.
    """
    places, blocks = _paths(model, list(order)), _paths(model, list(order.values()))
    return _replaced(model, dict(zip(places, map(model.get_submodule, blocks), strict=True)))


def same_shapes(model: nn.Module) -> list[list[str]]:
    """Names of blocks that can change places: of equal parameters' shapes, strides and dilations.

    Returns:
        Groups of two or more, in the network's order.
    """
    groups: dict[object, list[str]] = {}
    for name, (path, *_) in find_blocks(model).items():
        block = model.get_submodule(path)
        shapes = tuple((key, tuple(value.shape)) for key, value in block.state_dict().items())
        convolutions = tuple((m.stride, m.dilation) for m in block.modules() if isinstance(m, nn.Conv2d))
        groups.setdefault((path.rpartition(".")[0], shapes, convolutions), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _paths(model: nn.Module, names: Sequence[str]) -> list[str]:
    known = find_blocks(model)
    if names and not known:
        raise OptionError(
            "the model has no blocks that could be left out (VGG has none, those of timm's networks are not "
            "known); choose a residual, plain or Highway network of ours"
        )
    for name in names:
        check_choice("block", name, known)
    return [path for name in names for path in known[name]]


@contextmanager
def _replaced(model: nn.Module, new: Mapping[str, nn.Module]) -> Iterator[None]:
    before = {path: model.get_submodule(path) for path in new}
    try:
        for path, module in new.items():
            model.set_submodule(path, module)
        yield
    finally:
        for path, module in before.items():
            model.set_submodule(path, module)
