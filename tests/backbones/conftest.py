"""What the comparisons of networks share."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture
def build_equal() -> Callable[..., nn.Module]:
    """Another's network with copies of our tensors, without its own initialisation, which takes seconds."""

    def build(make: Callable[[], nn.Module], ours: nn.Module, name: Callable[[str], str] = str) -> nn.Module:
        with torch.device("meta"):
            theirs = make()
        state = {name(key): value.clone() for key, value in ours.state_dict().items()}
        theirs.load_state_dict(state, strict=True, assign=True)
        return theirs

    return build


@pytest.fixture
def relative_difference() -> Callable[[Tensor, Tensor], float]:
    """The largest difference, in units of the largest value."""

    def difference(ours: Tensor, theirs: Tensor) -> float:
        assert ours.shape == theirs.shape
        return ((ours - theirs).abs().max() / theirs.abs().max()).item()

    return difference
