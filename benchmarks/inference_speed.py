"""Answers on a CPU beside what a user would pick instead: torchvision, a compiler, another runtime.

Ours are as evaluation, `tools/predict.py` and the loaded networks compute them: an `inference_copy`.
"""

import copy
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from backbones import create_model
from backbones.export import export, open_exported
from backbones.norm import calibrate_batchnorm, inference_copy
from benchmarks.backbone_speed import Call, Pair
from benchmarks.detectors.detector_speed import (
    KINDS,
    Contest,
    contest,
    find,
    require_same_detections,
)
from benchmarks.detectors.peers import NUM_CLASSES
from detection.build import LoadedDetector
from detection.config import DetectionConfig
from detection.export import export as export_detector

CLASSIFIERS = ("resnet50", "vgg16")
COMPILED = ("resnet50",)  # beside torch.compile too, whose start takes longer than two rows
DETECTORS = ("c4", "mask")  # an export takes longer than four rows, and Mask R-CNN holds all of FPN
PICTURES, SIDE = 4, 224  # of a classifier's batch


def inference_calls(side: int = SIDE, size: tuple[int, int] | None = None) -> Iterator[Pair]:
    """On the CPU classifiers of four pictures beside every peer, detectors of two beside ONNX Runtime.

    All find the same. Detectors beside torchvision are rows of `detection_calls`.

    Args:
        side: of the classifiers' pictures, pixels.
        size: height and width of the detectors' pictures; by default 416x608.
    Raises:
        UserError: two detectors do not find the same.
    """
    images = torch.randn(PICTURES, 3, side, side)
    for name in CLASSIFIERS:
        ours, peers = _classifiers(name, images)
        for peer, call in peers.items():
            torch.testing.assert_close(call(), ours(), rtol=1e-3, atol=1e-3)
            yield f"{name}: {PICTURES} pictures of {side} (peer: {peer})", ours, call
    for kind in DETECTORS:
        both = contest(kind, "cpu", size)
        ours = partial(find, inference_copy(both.ours), both.batch, nullcontext)
        height, width = both.batch.images.shape[2:]
        other = _by_onnx(partial(_export_detector, both), both.batch.images)
        require_same_detections(ours(), _in_pictures(other()))
        yield f"{KINDS[kind]}: 2 pictures of {height}x{width} (peer: ONNX Runtime on our export)", ours, other


def _classifiers(name: str, images: Tensor) -> tuple[Call, dict[str, Call]]:
    network, theirs = create_model(name).eval(), getattr(torchvision.models, name)().eval()
    if name.startswith("resnet"):  # with identity statistics activations explode
        calibrate_batchnorm(network, [images])
    theirs.load_state_dict(network.state_dict())
    channels_last = {"memory_format": torch.channels_last}
    by_onnx = _by_onnx(partial(export, network, fold=True), images)
    peers: dict[str, Call] = {
        "torchvision": partial(_answer, theirs, images),
        "torchvision in channels_last": partial(
            _answer, copy.deepcopy(theirs).to(**channels_last), images.contiguous(**channels_last)
        ),
        "ONNX Runtime on our export": lambda: by_onnx()[0],
    }
    if name in COMPILED and shutil.which("c++"):  # which torch.compile needs
        peers["torch.compile of torchvision's, frozen"] = _compiled(theirs, images)
    return partial(_answer, inference_copy(network), images), peers


@torch.inference_mode()
def _answer(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return network(images)


def _compiled(network: nn.Module, images: Tensor) -> Call:
    with torch._inductor.config.patch(freezing=True), torch.no_grad():
        compiled = torch.compile(network)
        compiled(images)
    return torch.no_grad()(partial(compiled, images))


def _export_detector(both: Contest, path: Path) -> None:
    classes = [str(number) for number in range(NUM_CLASSES)]
    loaded = LoadedDetector(both.ours, DetectionConfig(), classes, list(range(NUM_CLASSES)))
    export_detector(loaded, path, fold=True)


def _by_onnx(write: Callable[[Path], None], images: Tensor) -> Callable[[], Sequence[Tensor]]:
    """What a file gives, which is gone when its session is open."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        write(path)
        run, _ = open_exported(path)
    return partial(run, images)


def _in_pictures(outputs: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """The outputs of a file picture by picture, as torchvision gives them."""
    boxes, scores, labels, valid, *_ = outputs
    return [
        {"boxes": boxes[i][kept], "scores": scores[i][kept], "labels": labels[i][kept]}
        for i, kept in enumerate(valid)
    ]
