"""A network for semantic segmentation: a backbone, a head on its maps, perhaps an auxiliary one."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from backbones.features import FeatureNetwork
from backbones.spec import InputSpec
from segmentation.model.map_sizes import pad_to_cells, resize_bilinear


class Segmenter(nn.Module):
    """Logits for every pixel of a picture. Parameter names are torchvision's.

    Args:
        backbone: gives the maps.
        classifier: called with the maps `reads`, from fine to coarse.
        aux_classifier: called with the map `aux_reads` alone; its loss helps training (Zhao et al. 2017). Set
            the attribute to None to do without its answer.
        name, options: what `segmentation.create_model` builds the network from.
        reads, aux_reads: names of features.
        stride: of the coarsest map that the classifier reads or makes, in pixels.
    """

    def __init__(
        self,
        backbone: FeatureNetwork,
        classifier: nn.Module,
        aux_classifier: nn.Module | None,
        *,
        name: str,
        options: dict[str, Any],
        reads: Sequence[str],
        aux_reads: str | None,
        stride: int,
    ) -> None:
        super().__init__()
        self.backbone, self.classifier, self.aux_classifier = backbone, classifier, aux_classifier
        self.name, self.options = name, options
        self.reads, self.aux_reads, self.stride = tuple(reads), aux_reads, stride

    @property
    def num_classes(self) -> int:
        """Classes, with the background if the data set has one."""
        return self.options["num_classes"]

    @property
    def input_spec(self) -> InputSpec:
        """The pictures it wants, the backbone's; callers normalise with it."""
        return self.backbone.input_spec

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) normalised pictures → {"out": (N, K, H, W)} float32 logits, and "aux" if it has that.

        The heads' logits are enlarged to the pictures' size by `resize_bilinear`, as in torchvision. See
        `whole_cells` for pictures whose sides are no multiples of the stride.
        """
        maps = self.backbone(images)
        logits = {"out": self.classifier(*(maps[name] for name in self.reads))}
        if self.aux_classifier is not None and self.aux_reads is not None:
            logits["aux"] = self.aux_classifier(maps[self.aux_reads])
        return {name: resize_bilinear(scores.float(), images.shape[2:]) for name, scores in logits.items()}

    def whole_cells(self, images: Tensor) -> dict[str, Tensor]:
        """As `forward`, of the pictures padded to whole cells with the mean colour, and cut again.

        So are networks trained and evaluated here; see `pad_to_cells`.
        """
        padded = pad_to_cells(images, self.stride)
        beyond = images.shape[3] - padded.shape[3], images.shape[2] - padded.shape[2]
        # A slice would tie exported programs to sizes that need no padding.
        return {name: F.pad(logits, (0, beyond[0], 0, beyond[1])) for name, logits in self(padded).items()}
