"""Several views of each picture, scored together: ten crops, and whole pictures at several scales."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from backbones.networks.vgg import REGION, VGG
from classification.data.augment import Picture
from classification.data.data_sets import DataConfig
from classification.data.encoded_pictures import EncodedPictures
from foundation.errors import UserError, suggest
from training.devices import send
from training.loader import Item

PROTOCOLS = ("centre", "ten-crop", "dense")
SCALES = (224, 256, 384, 480, 640)  # short sides in pixels, for a training crop of 224: He et al. 2015, §3.4
PIXELS = 100 * 224 * 224  # at most in one pass of the network, or one picture and its mirror image


@dataclass(frozen=True)
class Views:
    """Equally many views of each of N pictures; their mirror images are made later, on the device.

    Attributes:
        groups: for each size of view: (n,) int64, which of the N pictures each view is of, and the
            views, (n, 3, height, width) uint8 RGB.
        labels: (N,) int64.
        ids: N names for messages.
    """

    groups: list[tuple[Tensor, Tensor]]
    labels: Tensor
    ids: list[str]

    def to(self, device: torch.device | str) -> "Views":
        """The same on another device, copied without waiting where the memory is pinned."""
        groups = [(of, send(images, device)) for of, images in self.groups]
        return replace(self, groups=groups)

    def pin_memory(self) -> "Views":
        """Called by DataLoader: makes copies to a GPU asynchronous."""
        return replace(self, groups=[(of, images.pin_memory()) for of, images in self.groups])


@dataclass(frozen=True)
class ViewReader:
    """Reads each picture once and cuts its views, in a worker process."""

    pictures: EncodedPictures
    cut: Callable[[Picture], list[Picture]]
    scales: tuple[int, ...] = ()  # short sides of the views, in pixels, where they are whole pictures

    def __call__(self, items: Sequence[Item]) -> Views:
        images, labels, names = zip(*(self.pictures.read_whole(item.index) for item in items), strict=True)
        by_size: dict[tuple[int, ...], list[tuple[int, Picture]]] = {}
        for of, image in enumerate(images):
            for view in self.cut(image):
                by_size.setdefault(view.shape, []).append((of, view))
        groups = []
        for group in by_size.values():
            numbers, views = zip(*group, strict=True)
            groups.append((torch.tensor(numbers), torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)))
        return Views(groups, torch.tensor(labels), list(names))


def view_reader(
    pictures: object, config: DataConfig, protocol: str, scales: Sequence[int] = ()
) -> ViewReader | None:
    """What reads the views that a protocol scores; None for "centre", the view that every set gives itself.

    Args:
        pictures: a split, opened with `config`.
        scales: short sides of "dense" in pixels; by default those of `scales_for`.
    Raises:
        UserError: the protocol or the scales are none, or the pictures are small squares (CIFAR-10).
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"--protocol {protocol!r} is unknown{suggest(protocol, PROTOCOLS)}")
    if scales and (protocol != "dense" or min(scales) < 1):
        raise UserError(
            f"--scales are short sides in pixels for --protocol dense, got {list(scales)} for {protocol}"
        )
    if protocol == "centre":
        return None
    if not isinstance(pictures, EncodedPictures):
        raise UserError(
            f"--protocol {protocol} cuts views of whole pictures, {config.kind} has crops of one size; "
            "use --protocol centre"
        )
    if protocol == "ten-crop":
        cut = partial(corners_and_centre, resize=config.resize, size=config.centre_size())
        return ViewReader(pictures, cut)
    scales = tuple(scales) or scales_for(config.image_size)
    return ViewReader(pictures, partial(at_scales, scales=scales), scales)


def scales_for(image_size: int) -> tuple[int, ...]:
    """The paper's short sides for a training crop of this size."""
    return tuple(round(scale * image_size / 224) for scale in SCALES)


def scaled(image: Picture, short_side: int) -> Picture:
    """The whole picture with its short side scaled to so many pixels, antialiased bilinear."""
    height, width = image.shape[:2]
    factor = short_side / min(height, width)
    size = max(short_side, round(width * factor)), max(short_side, round(height * factor))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def corners_and_centre(image: Picture, resize: int, size: int) -> list[Picture]:
    """The five crops of (size, size) of the picture with its short side scaled to `resize` pixels.

    With their mirror images they are the ten crops of Krizhevsky et al. 2012, §4.1.
    """
    whole = scaled(image, resize)
    bottom, right = whole.shape[0] - size, whole.shape[1] - size
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [whole[top : top + size, left : left + size] for top, left in places]


def at_scales(image: Picture, scales: Sequence[int]) -> list[Picture]:
    """The whole picture with its short side scaled to each of these, in pixels (He et al. 2015, §3.4)."""
    return [scaled(image, scale) for scale in scales]


def score_views(
    network: Callable[[Tensor], Tensor], views: Views, prepare: Callable[[Tensor], Tensor]
) -> Tensor:
    """Log of the mean probability over a picture's views and their mirror images.

    Krizhevsky et al. 2012, §4.1, average probabilities over crops; Simonyan and Zisserman 2014, §3.2 and
    §4.2, over mirror images and scales.

    Args:
        network: (n, 3, height, width) normalised → (n, K) logits.
        prepare: (n, 3, height, width) uint8 RGB → what it wants.
    Returns:
        (N, K) float32.
    """
    scores = []
    for _, images in views.groups:
        height, width = images.shape[-2:]
        for part in images.split(max(1, PIXELS // (2 * height * width))):
            logits = network(prepare(torch.cat([part, part.flip(3)])))
            view, mirrored = logits.float().log_softmax(1).chunk(2)
            scores.append(torch.logaddexp(view, mirrored) - math.log(2))
    order = torch.cat([of for of, _ in views.groups]).argsort(stable=True)
    by_picture = torch.cat(scores)[order.to(scores[0].device)].unflatten(0, (len(views.ids), -1))
    return by_picture.logsumexp(1) - math.log(by_picture.shape[1])


def fully_convolutional(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The network for pictures of any size: the mean over places of what its classifier says of each.

    Residual and plain networks give that as they are, since their classifier is linear behind a global
    average. VGG's fc6 becomes a 7x7 convolution (Simonyan and Zisserman 2014, §3.2).
    """
    if not isinstance(model, VGG):
        return model

    def score(images: Tensor) -> Tensor:
        features = model.features(images)
        if min(features.shape[2:]) < REGION:
            raise UserError(
                f"{model.name}: fc6 takes features of at least {REGION}x{REGION}, pictures of "
                f"{images.shape[2]}x{images.shape[3]} give fewer; leave out --scales below {32 * REGION}"
            )
        side = REGION  # of fc6; fc7 and fc8 are convolutions of 1x1
        for layer in model.classifier:
            if isinstance(layer, nn.Linear):
                weight = layer.weight.unflatten(1, (-1, side, side))
                features, side = F.conv2d(features, weight, layer.bias), 1
            else:
                features = layer(features)
        return features.mean((2, 3))

    return score
