"""At which sizes the detectors of an ensemble look at a picture: each at its own, or at several scales."""

from collections.abc import Sequence

from detection.config import DetectionConfig
from detection.improve.augmented_testing import Augmentation, at_short_side


class PictureScales:
    """The sizes that pictures are resized to, each once, whoever looks at them.

    Args:
        configs: of the detectors. The first's data.short_side is the frame that all boxes are given in.

    Attributes:
        places: for every detector, where among the sizes its own is, and those of testing.scales behind it.
    """

    def __init__(self, configs: Sequence[DetectionConfig]) -> None:
        self._first = configs[0].data.short_side
        wanted = [
            [at_short_side(config.data, side) for side in (config.data.short_side, *config.testing.scales)]
            for config in configs
        ]
        self._sizes = list(dict.fromkeys(size for sizes in wanted for size in sizes))
        self.places = [[self._sizes.index(size) for size in sizes] for sizes in wanted]

    def at(self, augmentation: Augmentation) -> list[Augmentation]:
        """All sizes, when the first detector looks at a picture as the augmentation says: itself first."""
        ratio = augmentation.short_side / self._first
        return [size.times(ratio, mirrored=augmentation.mirrored) for size in self._sizes]
