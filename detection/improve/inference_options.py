"""What a trained detector does with a picture to answer better, as a configuration says it."""

import math
from dataclasses import dataclass
from typing import Any

from training.config import require_between


@dataclass(frozen=True)
class InferenceConfig:
    """Better answers of He et al. 2015, appendix B, at the price of time; nothing is trained otherwise.

    Attributes:
        refine: times that regions are pooled again from their corrected boxes, for another score and box
            beside the first (box refinement); the paper has 1.
        vote: whether a box becomes the mean of the candidates around it (box voting); None: where refine is
            above 0, as in the paper.
        scales: short sides, in pixels, of the pictures that regions are read from (multi-scale testing); the
            paper has 200, 400, 600, 800, 1000. Proposals come from data.short_side alone. Empty: that scale.
        region_side: of scales, a region is read from the two adjacent ones between which it is as large as a
            square of this side, in pixels.
    """

    refine: int = 0
    vote: bool | None = None
    scales: tuple[int, ...] = ()
    region_side: float = 224.0

    def __post_init__(self) -> None:
        require_between(self, 0, 10, "refine")
        require_between(self, 1, math.inf, "region_side")
        if self.scales and (min(self.scales) < 1 or list(self.scales) != sorted(set(self.scales))):
            raise ValueError(
                f"scales must be rising short sides in pixels, as [200, 400, 600], got {list(self.scales)}"
            )
        if len(self.scales) == 1:
            raise ValueError(
                f"scales {list(self.scales)} is one, which has no neighbour to merge with; give two or more, "
                f"or data.short_side={self.scales[0]}"
            )

    def given(self) -> dict[str, Any]:
        """What is asked for, for result files; empty without anything."""
        found = {"refine": self.refine, "vote": self.votes, "scales": list(self.scales)}
        return {name: value for name, value in found.items() if value}

    @property
    def votes(self) -> bool:
        """Whether boxes are voted on."""
        return self.refine > 0 if self.vote is None else self.vote
