"""A trained network for semantic segmentation in Python: `segmentation.load(file)(picture)`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foundation.errors import UserError
from pictures.given_pictures import GivenPicture, rgb_pixels
from segmentation.build import TrainedSegmenter, load_trained
from segmentation.data.label_maps import Labels
from segmentation.label_search import search_labels
from segmentation.results.picture_result import SegmentedPicture
from segmentation.set_search import folded_for_search
from training.devices import on_device


def load(
    weights: str | Path, *, device: str | torch.device | None = None, overrides: Sequence[str] = ()
) -> "PictureSegmenter":
    """A network to call on pictures, on a GPU where there is one.

    Args:
        weights: what tools/train_seg.py writes.
        device: such as "cpu" or "cuda:1".
        overrides: changes to its configuration, as "testing.flip=true" or "data.short_side=480".
    Raises:
        WeightsError, UserError: no such file, a wrong override, or no such device.
    """
    trained = load_trained(weights, ["run.device=auto", *overrides])
    return on_device(PictureSegmenter(trained), device, trained.config.run.device)


class PictureSegmenter(nn.Module):
    """A network with everything needed to call it on pictures as they are.

    Always in evaluation, whatever its mode: the network is a copy without its auxiliary head, whose batch
    normalisation is folded into the convolutions. To go on training it, start tools/train_seg.py with
    model.weights=FILE.

    Attributes:
        network: the copy.
        config: the configuration it was trained with, and the overrides.
        classes: K names in the order of the labels.
    """

    def __init__(self, trained: TrainedSegmenter) -> None:
        super().__init__()
        self.network = folded_for_search(trained.network)
        self.config, self.classes = trained.config, trained.classes

    def forward(
        self, pictures: GivenPicture | list[Any] | tuple[Any, ...]
    ) -> SegmentedPicture | list[SegmentedPicture]:
        """The class of every pixel of the picture, or of each of a list of pictures.

        Every picture is looked at alone, so a list gives what its pictures give one by one.

        Args:
            pictures: paths, PIL pictures, arrays (H, W, 3) or tensors (3, H, W), as `pictures.given_pictures`
                says.
        Raises:
            UserError: not a picture, or weights of half precision.
        """
        several = pictures if isinstance(pictures, list | tuple) else [pictures]
        given = [rgb_pixels(picture) for picture in several]
        results = [SegmentedPicture(pixels, self.find(pixels), self.classes) for pixels in given]
        return results if several is pictures else results[0]

    @torch.inference_mode()
    def find(self, pixels: NDArray[np.uint8]) -> Labels:
        """The label map (H, W) of a picture (H, W, 3) RGB, as tools/eval_seg.py finds it."""
        weight = next(self.network.parameters())
        if weight.dtype != torch.float32:
            raise UserError(
                f"the network's weights are {weight.dtype}, expected float32; to compute in bfloat16 load it "
                "with overrides=['run.precision=bf16']"
            )
        labels = search_labels(
            self.network.eval(),
            torch.tensor(pixels).permute(2, 0, 1).to(weight.device),
            self.config.testing,
            short_side=self.config.data.short_side,
            bf16=self.config.run.precision == "bf16",
        )
        return labels.cpu().numpy()
