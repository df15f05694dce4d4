"""A classifier in Python: `classification.load(weights)(picture)`."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backbones import InputSpec
from backbones.norm import inference_copy
from backbones.spec import Network
from classification.config import MeasuringConfig, PretrainConfig
from classification.data.augment import centre_crop
from classification.data.cifar10 import SIDE, Cifar10
from classification.data.data_sets import DataConfig
from classification.data.encoded_pictures import EncodedPictures
from classification.data.labelled_batches import SCORED_AT_ONCE, Batch, normalised
from classification.data.opened_splits import class_names, open_split
from classification.score.classifier_errors import MOST, predict
from classification.score.network_data import measuring_config, read_classifier_header
from classification.score.weight_evaluation import load_classifier
from foundation.errors import UserError
from pictures.given_pictures import GivenPicture, rgb_pixels
from training.devices import on_device

logger = logging.getLogger(__name__)


def load(
    weights: str | Path, *, device: str | torch.device | None = None, overrides: Sequence[str] = ()
) -> "Classifier":
    """A classifier to call on pictures, on a GPU where there is one.

    Args:
        weights: what tools/pretrain.py or tools/convert_weights.py writes, or a published name, such as
            "torchvision/resnet50.IMAGENET1K_V2".
        device: such as "cpu" or "cuda:1".
        overrides: changes to its configuration, as "data.image_size=288" or "run.precision=bf16".
    Raises:
        WeightsError, UserError: no classifier's weights, a wrong override, or no such device.
    """
    header = read_classifier_header(weights)
    overrides = ["run.device=auto", *overrides]
    config = measuring_config(weights, header, overrides, needs_data=False)
    network = load_classifier(weights, header, config)
    mean = mean_picture_of(weights, config.data, header.input_spec)
    classifier = Classifier(network, class_names(header), config, header.input_spec, mean)
    return on_device(classifier, device, config.run.device)


def mean_picture_of(weights: str | Path, config: DataConfig, spec: InputSpec) -> Tensor | None:
    """The mean picture that a network had subtracted in training, (3, H, W) in 0–1; None without one.

    It comes from the training pictures. Where these are missing, or others, a warning says that the channel
    means, which the weights hold, take its place.
    """
    if config.mean != "pixel" and (config.kind != "cifar10" or set(spec.std) != {1.0}):
        return None
    try:
        pictures = open_split(replace(config, val_split=config.train_split), training=False)
        pictures.adopt(spec)
    except UserError as error:
        logger.warning(
            "%s was trained on pictures less the mean picture, which cannot be computed (%s). The channel "
            "means are subtracted instead: scores differ a little from those of its evaluation",
            *(weights, error),
        )
        return None
    assert isinstance(pictures, Cifar10 | EncodedPictures)  # no other set subtracts a mean picture
    return pictures.mean


@dataclass(frozen=True, eq=False)
class Classification:
    """What a classifier says of one picture.

    Attributes:
        probabilities: (K,) float32, on the CPU.
        names: of the K classes.
    """

    probabilities: Tensor
    names: Sequence[str]

    @property
    def label(self) -> int:
        """The number of the likeliest class, 0 … K−1."""
        return int(self.probabilities.argmax())

    @property
    def name(self) -> str:
        """The name of the likeliest class."""
        return self.names[self.label]

    @property
    def score(self) -> float:
        """The probability of the likeliest class."""
        return float(self.probabilities[self.label])

    def top(self, count: int = MOST) -> list[tuple[str, float]]:
        """The likeliest classes with their probabilities, the likeliest first; at most all K."""
        if count < 1:
            raise UserError(f"count must be 1 class or more, got {count}")
        found = self.probabilities.topk(min(count, len(self.names)))
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return [(self.names[label], probability) for label, probability in pairs]

    def __repr__(self) -> str:
        best = ", ".join(f"{name} {probability:.3f}" for name, probability in self.top())
        return f"Classification({best}; {len(self.names)} classes)"


class Classifier(nn.Module):
    """A network with everything needed to call it on pictures as they are.

    Pictures are seen as tools/eval_cls.py sees them: resized, the centre cropped, normalised for the network.
    Always in evaluation, whatever its mode: the network is a copy whose batch normalisation is folded into
    the convolutions.

    Attributes:
        network: the copy, (N, 3, H, W) normalised → (N, K) logits.
        classes: K names.
        config: of its training, or of how it sees pictures; and the overrides.
        input_spec: pictures it was trained on.
        mean: (3, H, W) in 0–1, the mean picture, which is subtracted in place of channel means; or None.
    """

    mean: Tensor | None

    def __init__(
        self,
        network: Network,
        classes: list[str],
        config: PretrainConfig | MeasuringConfig,
        input_spec: InputSpec,
        mean: Tensor | None,
    ) -> None:
        super().__init__()
        self.network = inference_copy(network)
        self.classes, self.config, self.input_spec = classes, config, input_spec
        self.register_buffer("mean", mean, persistent=False)
        self.eval()

    def forward(
        self, pictures: GivenPicture | list[Any] | tuple[Any, ...]
    ) -> Classification | list[Classification]:
        """What the picture is, or each of a list of pictures.

        They are scored a hundred at a time, as in evaluation: of the same pictures in the same order the
        probabilities are those of tools/eval_cls.py to the last bit, in other batches to rounding.

        Args:
            pictures: paths, PIL pictures, arrays (H, W, 3) or tensors (3, H, W), as `pictures.given_pictures`
                says.
        Raises:
            UserError: not a picture.
        """
        several = pictures if isinstance(pictures, list | tuple) else [pictures]
        device, precision = next(self.network.parameters()).device, self.config.run.precision
        scored = predict(
            self.network, self._batches(several), self._score, device=device, precision=precision
        )
        rows = [row for _, _, scores in scored for row in scores.exp().cpu()]
        results = [Classification(row, self.classes) for row in rows]
        return results if several is pictures else results[0]

    def _batches(self, pictures: Sequence[GivenPicture]) -> Iterator[Batch]:
        for start in range(0, len(pictures), SCORED_AT_ONCE):
            views = [self._view(picture) for picture in pictures[start : start + SCORED_AT_ONCE]]
            unknown = torch.full((len(views),), -1)
            images = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)
            yield Batch(images, unknown, unknown, [])

    def _view(self, picture: GivenPicture) -> np.ndarray:
        """(size, size, 3) uint8 RGB, as evaluation shows a picture to the network."""
        data = self.config.data
        resize, size = (SIDE, SIDE) if data.kind == "cifar10" else (data.resize, data.centre_size())
        return centre_crop(rgb_pixels(picture), resize, size)

    def _score(self, batch: Batch) -> Tensor:
        return self.network(normalised(batch.images, self.input_spec, self.mean))
