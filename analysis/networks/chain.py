"""A classifier cut at its blocks, so that what follows any of them can be run alone."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.lesion import find_blocks
from backbones.spec import Network
from foundation.errors import OptionError


class Chain:
    """Blocks one behind the other, with what stands before, between and behind them.

    Modules are looked up whenever they run, so that a lesion of the network (`backbones.lesion`) is one of
    its chain.

    Attributes:
        names: of the blocks, "res2.0" and so on.
        stages: name → the places of its blocks.
    Raises:
        OptionError: the network has no blocks.
    """

    def __init__(self, network: Network) -> None:
        self.network: Any = network
        found = find_blocks(network)
        self.names, self.paths = list(found), [paths[0] for paths in found.values()]
        if not self.names:
            raise OptionError(
                f"{network.name} has no blocks, which this analysis is of; give a residual, plain or Highway "
                "network"
            )
        self.stages = {
            stage: [place for place, name in enumerate(self.names) if name.startswith(f"{stage}.")]
            for stage in dict.fromkeys(name.partition(".")[0] for name in self.names)
        }
        # What runs before each block, and at last what runs behind the last one.
        self._between: list[list[str]] = [[]]
        for child in (child for children in network.stages.values() for child in children):
            if any(path.startswith(f"{child}.") for path in self.paths):
                self._between += [[] for path in self.paths if path.startswith(f"{child}.")]
            else:
                self._between[-1].append(child)

    def __len__(self) -> int:
        return len(self.names)

    def block(self, place: int) -> Any:
        """The block at a place, as the network is now."""
        return self.network.get_submodule(self.paths[place])

    def inputs(self, images: Tensor) -> list[Tensor]:
        """The input of every block, and the output of the last: (N, C, h, w) each."""
        x, inputs = images, []
        for place in range(len(self)):
            inputs.append(self.enter(x, place))
            x = self.block(place)(inputs[-1])
        return [*inputs, x]

    def enter(self, x: Tensor, place: int) -> Tensor:
        """The input of a block from the output of the one before, of the first block from pictures."""
        for child in self._between[place]:
            x = self.network.get_submodule(child)(x)
        return x

    def outputs(self, x: Tensor, first: int = 0) -> Iterator[Tensor]:
        """The output of each block from the one at place `first` on, whose input is given."""
        for place in range(first, len(self)):
            x = self.block(place)(x if place == first else self.enter(x, place))
            yield x

    def run(self, x: Tensor, first: int) -> Tensor:
        """(N, K) logits from the input of the block at place `first`."""
        for output in self.outputs(x, first):
            x = output
        return self.classify(x)

    def classify(self, x: Tensor) -> Tensor:
        """(N, K) logits from the output of the last block."""
        return self.network.fc(self.enter(x, len(self)).mean((2, 3)))

    def is_identity(self, place: int) -> bool:
        """Whether the shortcut passes on what came out of the block before, unchanged."""
        block, between = self.block(place), bool(place and self._between[place])
        passes = isinstance(getattr(block, "downsample", None), nn.Identity)
        return passes and not between and not getattr(block, "weighs_shortcut", False)

    def has_shortcuts(self) -> bool:
        """Whether every block has a shortcut and a residual."""
        return all(hasattr(self.block(place), "terms") for place in range(len(self)))

    def require_sums(self) -> None:
        """For what looks at shortcut and residual apart.

        Raises:
            OptionError: the network is plain, or something but a ReLU follows its sums.
        """
        if any(getattr(self.block(place), "normalises_sum", False) for place in range(len(self))):
            unit = self.network.options["unit"]
            raise OptionError(
                f"{self.network.name} normalises behind its sums (unit={unit!r}), so that its blocks are no "
                "sums of shortcut and residual, which this analysis is of; give a network of another unit"
            )
        if not self.has_shortcuts():
            raise OptionError(
                f"{self.network.name} has no shortcuts, which this analysis is of; "
                "give a residual or Highway network"
            )

    def last_gradient(self, x: Tensor, labels: Tensor) -> Tensor:
        """Direction of each picture's cross-entropy gradient at the last block's output.

        Gradients count from here at length 1 in all analyses: unscaled ones would be those of the few
        pictures of which a trained network is not sure.

        Args:
            x: (N, C, h, w) the last block's output.
        Returns:
            (N, C, h, w), of length 1; 0 where the gradient is.
        """
        x = x.detach().requires_grad_()
        loss = F.cross_entropy(self.classify(x), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        sizes = gradient.flatten(1).norm(dim=1).clamp(min=torch.finfo(gradient.dtype).tiny)
        return gradient / sizes[:, None, None, None]
