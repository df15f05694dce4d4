"""Our detectors beside torchvision's on equal weights: training step, inference, and on a GPU memory."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN as PeerFasterRCNN
from torchvision.ops import poolers, roi_align

from backbones.norm import inference_copy
from benchmarks.backbone_speed import Call, Pair, bytes_table
from benchmarks.detectors.peers import NUM_CLASSES, detectors
from detection.heads.candidates import Detections
from detection.model.detector import FasterRCNN
from detection.types import Batch
from foundation.errors import UserError
from training.devices import convolution_layout, emulates_bf16
from training.graph import WARM_UP, GraphedFunction

SIZES = {"cpu": (416, 608), "cuda": (800, 1216)}  # pixels of the pictures; multiples of 32
KINDS = {"c4": "Faster R-CNN C4", "fpn": "Faster R-CNN FPN", "mask": "Mask R-CNN FPN"}
Cast = Callable[[], AbstractContextManager]


class Contest(NamedTuple):
    """Two detectors and the same two pictures for each, as it takes them."""

    ours: FasterRCNN
    peer: PeerFasterRCNN
    batch: Batch
    pictures: list[Tensor]
    targets: list[dict[str, Tensor]]

    def train_peer(self) -> dict[str, Tensor]:
        """The losses."""
        return self.peer.train()(self.pictures, self.targets)


def detection_batch(size: tuple[int, int]) -> Batch:
    """Two noise pictures with eight objects each, whose masks fill their boxes; seeded."""
    generator, short_side = torch.Generator().manual_seed(0), min(size)
    corner = torch.rand(2, 8, 2, generator=generator) * short_side / 2
    extent = short_side / 10 + torch.rand(2, 8, 2, generator=generator) * short_side / 3
    return Batch(
        images=torch.randint(256, (2, 3, *size), dtype=torch.uint8, generator=generator),
        sizes=torch.tensor([size, size]),
        scales=torch.ones(2, 2),
        boxes=torch.cat([corner, corner + extent], dim=2),
        labels=torch.randint(1, NUM_CLASSES + 1, (2, 8), generator=generator),
        valid=torch.ones(2, 8, dtype=torch.bool),
        seeds=torch.arange(2),
        ids=["0", "1"],
        masks=torch.full((2, 8, size[0], size[1] // 8), 255, dtype=torch.uint8),
    )


def contest(kind: str, device: str, size: tuple[int, int] | None = None) -> Contest:
    """Both detectors of one of `KINDS`, for pictures of this (height, width); ours as `run` trains it."""
    size = size or SIZES[device]
    ours, peer = (network.to(device) for network in detectors(size, kind))
    layout = convolution_layout(torch.device(device), channels_last=True)
    ours.to(memory_format=layout)
    batch = detection_batch(size).to(device)
    batch = replace(batch, images=batch.images.contiguous(memory_format=layout))
    masks = torch.ones(8, *size, dtype=torch.uint8, device=device)
    targets = [
        {"boxes": boxes, "labels": labels, "masks": masks}
        for boxes, labels in zip(batch.boxes, batch.labels, strict=True)
    ]
    return Contest(ours, peer, batch, list(batch.images.float() / 255), targets)


def detection_calls(device: str, size: tuple[int, int] | None = None) -> Iterator[Pair]:
    """Every kind of detector on ResNet-50, frozen normalisation, two pictures: a training step and inference.

    Inference as evaluation does it, with folded normalisation. On a GPU also in bf16, where it has that, and
    ours also captured, as `run.cuda_graph` has it; the peer's cannot be.

    Raises:
        UserError: the two do not find the same.
    """
    precisions = (False,) if device == "cpu" or emulates_bf16(torch.device(device)) else (False, True)
    for kind, name in KINDS.items():
        both = contest(kind, device, size)
        require_equal(both)
        for calls in (inference_calls, training_calls):  # in this order: training makes the two differ
            for bf16 in precisions:
                cast = partial(torch.autocast, device, torch.bfloat16, enabled=bf16)
                what, ours, peer = calls(both, cast)
                precision = "bf16" if bf16 else "fp32"
                yield f"{name}: {what}, {precision}", partial(ours, both.batch), peer
                if both.batch.images.is_cuda:
                    graphed: GraphedFunction[Any] = GraphedFunction(ours, both.batch.images.device)
                    for _ in range(WARM_UP + 1):
                        graphed(both.batch)
                    yield f"{name}: {what}, captured, {precision}", partial(graphed, both.batch), peer


def inference_calls(both: Contest, cast: Cast) -> tuple[str, Callable[[Batch], Any], Call]:
    """What is timed, ours and the peer's."""
    return (
        "inference",
        partial(find, inference_copy(both.ours), cast=cast),
        partial(find_peer, both, cast),
    )


def training_calls(both: Contest, cast: Cast) -> tuple[str, Callable[[Batch], Any], Call]:
    """What is timed, ours and the peer's."""
    optimizer = _optimizer(both.ours)

    def train(batch: Batch) -> None:
        step(partial(both.ours.train(), batch), optimizer, cast)

    return "training step", train, partial(step, both.train_peer, _optimizer(both.peer), cast)


def _optimizer(network: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 1e-5, momentum=0.9)


def step(losses: Callable[[], dict[str, Tensor]], optimizer: torch.optim.Optimizer, cast: Cast) -> None:
    """One step of training."""
    optimizer.zero_grad()
    with cast():
        total = torch.stack(list(losses().values())).sum()
    total.backward()
    optimizer.step()


@torch.inference_mode()
def find(model: FasterRCNN, batch: Batch, cast: Cast) -> Detections:
    """What ours finds."""
    with cast():
        return model.eval()(batch)


@torch.inference_mode()
def find_peer(both: Contest, cast: Cast) -> list[dict[str, Tensor]]:
    """What the peer finds in each picture."""
    with cast():
        return both.peer.eval()(both.pictures)


def require_equal(both: Contest) -> float:
    """Both find the same; the peer pools with our half-pixel shift here, and neither rounds to TF32.

    Returns and raises what `require_same_detections` does.
    """
    # torchvision has no switch for the shift.
    with (
        mock.patch.object(poolers, "roi_align", partial(roi_align, aligned=True)),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
    ):
        return require_same_detections(find(both.ours, both.batch, nullcontext), find_peer(both, nullcontext))


def require_same_detections(ours: Detections, theirs: list[dict[str, Tensor]]) -> float:
    """Refuses detections that are not the peer's.

    Rounding changes the order of nearly equal scores, and with it what non-maximum suppression leaves.

    Returns:
        The share of the peer's detections that ours has too: the label, the box to a tenth of a pixel, the
        score to a thousandth.
    Raises:
        UserError: it is less than nine tenths, or there are none.
    """
    mine = torch.cat([ours.boxes, 100 * ours.scores[..., None], ours.labels[..., None]], dim=2)
    distances = []
    for table, valid, peer in zip(mine, ours.valid, theirs, strict=True):
        rows = torch.cat([peer["boxes"], 100 * peer["scores"][:, None], peer["labels"][:, None]], dim=1)
        distances.append(torch.cdist(rows, table[valid], p=torch.inf).amin(dim=1))
    share = (torch.cat(distances) < 0.1).float().mean().item()
    if not share > 0.9:
        raise UserError(
            f"expected the same detections of both, only {100 * share:.0f} % of the peer's are ours"
        )
    return share


def detector_memory() -> str:
    """The most memory that a training step holds on a GPU, ours and the peer's; Markdown."""
    rows = []
    for kind, name in KINDS.items():
        both = contest(kind, "cuda")
        mine = _peak(partial(both.ours.train(), both.batch), both.ours)
        rows.append((name, mine, _peak(both.train_peer, both.peer)))
    return bytes_table("peak of a training step, fp32, weights of both included", rows)


def _peak(losses: Callable[[], dict[str, Tensor]], network: torch.nn.Module) -> int:
    optimizer = _optimizer(network)
    torch.cuda.reset_peak_memory_stats()
    step(losses, optimizer, nullcontext)
    peak = torch.cuda.max_memory_allocated()
    optimizer.zero_grad()
    return peak
