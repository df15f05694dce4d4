"""Semantic segmentation beside torchvision's networks on equal weights, and label maps counted."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.backbone_speed import Call, Pair
from segmentation.metrics.confusion_matrix import ConfusionMatrix
from segmentation.model.segmenter import Segmenter
from segmentation.model.segmenters_by_name import create_model
from segmentation.pixel_losses import LossOptions, segmentation_losses
from segmentation.set_search import folded_for_search
from segmentation.types import IGNORED

NETWORKS = ("fcn_resnet50", "deeplabv3_resnet50")
CLASSES = 21
SIDE, BATCH = {"cpu": 257, "cuda": 513}, {"cpu": 2, "cuda": 16}
MAPS, MAP_SIZE = 1449, (375, 500)  # VOC 2012 val, and the commonest size of its pictures


class Crops(NamedTuple):
    """Normalised pictures (N, 3, H, W), and labels (N, H, W) uint8 and int64."""

    images: Tensor
    labels: Tensor
    long_labels: Tensor


def segmentation_calls(
    device: str, side: int | None = None, maps: int = MAPS, size: tuple[int, int] = MAP_SIZE
) -> Iterator[Pair]:
    """A training step without optimiser, inference of one picture as evaluation does it, and counting.

    Both sides must give the same before they are timed. Ours is as it trains and as it is evaluated,
    in channels_last and folded, torchvision's as its references have it.
    """
    side = side or SIDE[device]
    crops = noise_crops(device, BATCH[device], side)
    for name in NETWORKS:
        ours, peer = networks(name, device)
        _compare(ours, peer, crops)
        what = f"{name}, {BATCH[device]} crops of {side}: forward and backward"
        yield f"{what} (peer: torchvision)", our_steps(ours, crops), partial(_peer_step, peer, crops)
        folded = folded_for_search(ours)
        yield (
            f"{name}, one picture of {side}: label map (peer: torchvision)",
            partial(_labels, folded, crops.images[:1]),
            partial(_labels, peer, crops.images[:1]),
        )
    truth, found = _label_maps(maps, size)
    ours_count, theirs = partial(count_maps, truth, found), partial(count_by_bincount, truth, found)
    assert np.array_equal(ours_count(), theirs())
    yield (
        f"confusion matrix of {maps:,} maps of {size[0]}x{size[1]} (peer: NumPy's bincount)",
        ours_count,
        theirs,
    )


def our_steps(network: Segmenter, crops: Crops) -> Call:
    """Forward and backward in channels_last, which is every training's here, unless told otherwise."""
    layout = {"memory_format": torch.channels_last}
    network.to(**layout)
    return partial(_step, network, crops._replace(images=crops.images.contiguous(**layout)))


def step_calls(name: str) -> tuple[Call, Call]:
    """Ours and torchvision's on the CPU."""
    (ours, peer), crops = networks(name, "cpu"), noise_crops("cpu", BATCH["cpu"], SIDE["cpu"])
    return our_steps(ours, crops), partial(_peer_step, peer, crops)


def networks(name: str, device: str) -> tuple[Segmenter, nn.Module]:
    """Ours and torchvision's, with equal weights."""
    torch.manual_seed(0)
    peer = getattr(torchvision.models.segmentation, name)(
        weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True
    )
    ours = create_model(name, num_classes=CLASSES, aux=True)
    ours.load_state_dict(peer.state_dict())
    return ours.to(device), peer.to(device)


def noise_crops(device: str, count: int, side: int) -> Crops:
    """Pictures and labels without any sense, an eighth of them ignored."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (count, side, side), generator=generator)
    labels[:, : side // 8] = IGNORED
    images = torch.randn(count, 3, side, side, generator=generator)
    return Crops(images.to(device), labels.to(torch.uint8).to(device), labels.to(device))


@torch.no_grad()
def _compare(ours: nn.Module, peer: nn.Module, crops: Crops) -> None:
    for network in (ours, peer):
        network.eval()
    theirs = peer(crops.images)
    for name, logits in ours(crops.images).items():
        torch.testing.assert_close(logits, theirs[name], rtol=1e-3, atol=1e-4)


def _step(network: nn.Module, crops: Crops) -> None:
    network.train().zero_grad()
    losses = segmentation_losses(network(crops.images), crops.labels, LossOptions())
    sum(losses.values(), torch.zeros((), device=crops.images.device)).backward()


def _peer_step(network: nn.Module, crops: Crops) -> None:
    """As torchvision's references train: cross entropy, and half of the auxiliary head's (ours: 0.4)."""
    network.train().zero_grad()
    logits = network(crops.images)
    main, aux = (
        F.cross_entropy(logits[name], crops.long_labels, ignore_index=IGNORED) for name in ("out", "aux")
    )
    (main + 0.5 * aux).backward()


@torch.inference_mode()
def _labels(network: nn.Module, images: Tensor) -> Tensor:
    return network.eval()(images)["out"].argmax(dim=1)


def _label_maps(count: int, size: tuple[int, int]) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Maps of a few blobs a picture, and predictions whose borders lie elsewhere."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: size[0], : size[1]]
    truth, found = [], []
    for _ in range(count):
        labels, predicted = np.zeros(size, dtype=np.uint8), np.zeros(size, dtype=np.uint8)
        for _ in range(4):
            y, x, radius = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(20, 120)
            place, label = (rows - y) ** 2 + (columns - x) ** 2, rng.integers(1, CLASSES)
            labels[place < radius**2] = label
            labels[(place >= radius**2) & (place < (radius + 3) ** 2)] = IGNORED
            predicted[place < (radius * rng.uniform(0.8, 1.2)) ** 2] = label
        truth.append(labels)
        found.append(predicted)
    return truth, found


def count_maps(truth: list[NDArray[np.uint8]], found: list[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """(K, K) as evaluation counts them."""
    matrix = ConfusionMatrix(CLASSES)
    for labels, predicted in zip(truth, found, strict=True):
        matrix.add(torch.from_numpy(predicted), torch.from_numpy(labels))
    return matrix.merged()


def count_by_bincount(truth: list[NDArray[np.uint8]], found: list[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """(K, K) as evaluation scripts usually count them."""
    total = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    for labels, predicted in zip(truth, found, strict=True):
        known = labels < CLASSES
        pairs = CLASSES * labels[known].astype(int) + predicted[known]
        total += np.bincount(pairs, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    return total
