"""A trained detector in Python: `detection.load(file)(picture)`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from backbones.norm import inference_copy
from detection.build import LoadedDetector, load_detectors
from detection.charts.score_thresholds import at_least, read_thresholds
from detection.data.detection_batches import picture_batch
from detection.improve.improve_options import ONE_LOOK, ImproveOptions
from detection.improve.improved_predictions import answering
from detection.predictor import predict, predict_improved
from detection.results.detection_result import DetectionResult
from detection.types import Prediction
from foundation.errors import UserError
from pictures.given_pictures import GivenPicture, rgb_pixels
from training.devices import on_device


def load(
    weights: str | Path | Sequence[str | Path],
    *,
    device: str | torch.device | None = None,
    overrides: Sequence[str] = (),
    tiles: int | None = None,
    overlap: float | None = None,
    tta: str | None = None,
    merge: str | None = None,
) -> "Detector":
    """A detector to call on pictures, on a GPU where there is one.

    Args:
        weights: what tools/train_det.py writes, or a published detector's name; several are an ensemble.
        device: such as "cpu" or "cuda:1".
        overrides: changes to its configuration, as "data.short_side=480" or "roi.nms_threshold=0.5".
        tiles, overlap, tta, merge: as `ImproveOptions` says, for better answers that take longer.
    Raises:
        WeightsError, UserError: no detector's weights, an ensemble of different classes, a wrong override or
            option, or no such device.
    """
    improve = ImproveOptions(tiles, overlap, tta, merge)
    files = [weights] if isinstance(weights, str | Path) else weights
    first, *others = load_detectors(files, ["run.device=auto", *overrides])
    return on_device(Detector(first, improve, others), device, first.config.run.device)


class Detector(nn.Module):
    """A detector with everything needed to call it on pictures as they are.

    Always in evaluation, whatever its mode: the network is a copy whose batch normalisation is folded into
    the convolutions. To go on training it, start tools/train_det.py with model.weights=FILE.

    Args:
        loaded: the detector.
        improve: tiles and augmentation.
        others: of the same classes, which answer together with the first.

    Attributes:
        network: the copy.
        config: the configuration it was trained with, and the overrides; of an ensemble the first's.
        classes: K names.
        category_ids: their ids in the training set.
        improver: looks at pictures more than once; None looks once at the whole.
    """

    def __init__(
        self,
        loaded: LoadedDetector,
        improve: ImproveOptions = ONE_LOOK,
        others: Sequence[LoadedDetector] = (),
    ) -> None:
        super().__init__()
        models, configs = zip(*((one.model, one.config) for one in (loaded, *others)), strict=True)
        network, self.improver = answering(models, configs, improve)
        self.network = inference_copy(network)
        self.config, self.classes, self.category_ids = loaded.config, loaded.classes, loaded.category_ids

    def forward(
        self, pictures: GivenPicture | list[Any] | tuple[Any, ...], *, threshold: float | str | Path = 0.5
    ) -> DetectionResult | list[DetectionResult]:
        """What is in the picture, or in each of a list of pictures.

        Every picture is looked at alone, so a list gives what its pictures give one by one.

        Args:
            pictures: paths, PIL pictures, arrays (H, W, 3) or tensors (3, H, W), as `pictures.given_pictures`
                says.
            threshold: least probability, or an operating_point.json of `tools/eval_det.py`, which has one of
                each class; 0 gives all that passes the configuration's roi.score_threshold.
        Raises:
            UserError: not a picture, an impossible threshold, one of other classes, or weights of half
                precision.
        """
        thresholds = read_thresholds(threshold, "threshold").of(self.classes)
        several = pictures if isinstance(pictures, list | tuple) else [pictures]
        given = [rgb_pixels(picture) for picture in several]
        results = [
            DetectionResult(pixels, at_least(found, thresholds), self.classes, self.category_ids)
            for pixels, found in zip(given, self.find(given), strict=True)
        ]
        return results if several is pictures else results[0]

    def find(self, pictures: Iterable[NDArray[np.uint8]]) -> list[Prediction]:
        """Everything found in each of the pictures (H, W, 3) RGB, in their pixels."""
        if any(parameter.dtype != torch.float32 for parameter in self.network.parameters()):
            raise UserError(
                "a detector's weights stay float32, since halved ones would move boxes by pixels; to compute "
                "in bfloat16 load it with overrides=['run.precision=bf16']"
            )
        bf16 = self.config.run.precision == "bf16"
        if self.improver is not None:
            return list(predict_improved(self.network, pictures, self.improver, bf16=bf16))
        batches = (picture_batch(pixels, self.config.data) for pixels in pictures)
        return predict(self.network, batches, bf16=bf16)
