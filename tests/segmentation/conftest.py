"""A network that answers by colour, so that label maps can be worked out by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones.spec import InputSpec


class ByColour(nn.Module):
    """Class 0, 1 or 2 where a pixel is mostly red, green or blue; logits are the colours."""

    def __init__(self) -> None:
        super().__init__()
        self.input_spec = InputSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), order="RGB", range=1.0)
        self.aux_classifier: Any = None
        self.scale = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[int, int]] = []  # sizes of what it was shown

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.seen.append((images.shape[2], images.shape[3]))
        return {"out": images * self.scale}


@pytest.fixture
def by_colour() -> ByColour:
    return ByColour().eval()
