"""What the switches of better detectors cost at inference: each beside the same detector without it.

A ratio below 1 is the price: 0.5 takes twice the time, or twice the memory.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from backbones.norm import calibrate_batchnorm, fold_batchnorm
from benchmarks.backbone_speed import Call, Pair, bytes_table
from benchmarks.detectors.detector_speed import SIZES, find
from detection.build import assemble
from detection.config import DetectionConfig
from detection.data.detection_batches import picture_batch
from detection.model.detector import FasterRCNN
from detection.types import Batch
from training.config import load_config

NUM_CLASSES = 80
NETWORKS = {
    "R50-FPN": ("backbone.name=resnet50", "detector.kind=fpn", "rpn.post_nms_test=1000"),
    "R18-C4": ("backbone.name=resnet18", "detector.kind=c4"),
}
# A new switch is a line here: what it is called, and the keys that turn it on.
SWITCHES = {
    "box refinement": ("testing.refine=1",),
    "context": ("detector.context=true",),
    "three stages": ("roi.stages=3", "detector.class_agnostic=true"),
}


def switch_calls(device: str, size: tuple[int, int] | None = None) -> Iterator[Pair]:
    """Every switch on every network: inference of one picture of this (height, width), fp32, not captured.

    Ours is the detector with the switch, the peer the one without.
    """
    for name, switched, plain in _both(device, size or SIZES[device]):
        yield f"{name} (peer: without)", switched, plain


def switch_memory(device: str, size: tuple[int, int] | None = None) -> str:
    """The most bytes that the tensors of an inference hold at once, weights apart; Markdown."""
    rows = [(name, peak(on), peak(off)) for name, on, off in _both(device, size or SIZES[device])]
    return bytes_table("peak of an inference, weights not included (peer: without)", rows)


def _both(device: str, size: tuple[int, int]) -> Iterator[tuple[str, Call, Call]]:
    for network, options in NETWORKS.items():
        plain = detector_call(options, device, size)
        for name, keys in SWITCHES.items():
            yield f"{network}, {name}", detector_call((*options, *keys), device, size), plain


def detector_call(options: tuple[str, ...], device: str, size: tuple[int, int]) -> Call:
    """Inference by a detector with these keys, folded, of random weights that find various things."""
    torch.manual_seed(0)
    sides = (f"data.short_side={min(size)}", f"data.max_side={max(size)}")
    config = load_config(DetectionConfig, None, [*options, *sides])
    pixels = torch.randint(256, (*size, 3), dtype=torch.uint8).numpy()
    batch = picture_batch(pixels, config.data).to(device)
    model = assemble(config, NUM_CLASSES, weights=None).eval().to(device)
    calibrate_batchnorm(model, [batch])  # with other statistics activations explode and proposals are few
    _vary(model, batch)
    layout = torch.channels_last if device == "cuda" else torch.contiguous_format
    folded: FasterRCNN = fold_batchnorm(model).to(memory_format=layout)
    batch = replace(batch, images=batch.images.contiguous(memory_format=layout))
    return partial(find, folded, batch, nullcontext)


@torch.no_grad()
def _vary(model: FasterRCNN, batch: Batch) -> None:
    """Scales what random layers say of classes until scores differ and some pass the threshold."""
    features = model.extract(batch)
    proposals, _ = model.propose(batch, features)
    for reader, _ in model.roi_heads.stages:
        vectors = reader.read(features, proposals.boxes, batch.sizes)[1]
        logits = reader.classifier(vectors)
        factor = 3 / (logits - logits.mean(dim=(0, 1))).std()
        reader.classifier.weight.mul_(factor)
        reader.classifier.bias.copy_(-factor * logits.mean(dim=(0, 1)))


class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, as long as they live; `most` is the peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, function: Callable, types: Any, arguments: tuple = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        given = _storages((arguments, keywords))
        made = function(*arguments, **(keywords or {}))
        for storage in _storages(made) - given - set(self._known):
            self._known.add(storage)
            self._change(storage.nbytes())
            weakref.finalize(storage, self._change, -storage.nbytes())
        return made

    def _change(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)


def _storages(values: object) -> set[torch.UntypedStorage]:
    return {leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)}


def peak(call: Call) -> int:
    """The most bytes of tensors that a call makes and holds at once."""
    call()  # fills caches of constants
    with Alive() as alive:
        call()
    return alive.most
