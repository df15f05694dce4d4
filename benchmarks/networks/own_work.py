"""What our networks do on a CPU as evaluation and training do it: what roofline and profile look at."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from backbones import create_model
from backbones.norm import calibrate_batchnorm, inference_copy
from benchmarks.backbone_speed import Call, forward
from benchmarks.cifar_speed import OurLoop, pictures
from benchmarks.detectors.detector_speed import KINDS, contest, find, training_calls
from benchmarks.networks.classification_speed import noise, training_step

CIFAR, CLASSIFIERS = "resnet20_cifar", {"resnet50": "ResNet-50", "vgg16": "VGG-16"}


class Work(NamedTuple):
    """A call as it is timed, and one of the same arithmetic whose operations torch's counter knows."""

    name: str
    call: Call
    counted: Call


def own_work(size: tuple[int, int] | None = None) -> Iterator[Work]:
    """Inference of copies made for it, and steps of training; fp32, random weights, noise.

    Args:
        size: height and width of the detectors' pictures; by default 416x608.
    """
    images, labels = noise("cpu")
    for name, title in CLASSIFIERS.items():
        network = create_model(name)
        if name.startswith("resnet"):  # with identity statistics activations explode
            calibrate_batchnorm(network, [images])
        yield inference(f"{title}: inference of {len(images)} pictures", network, images)
    resnet = create_model("resnet50").to(memory_format=torch.channels_last)
    step = training_step(resnet, images, labels)
    yield Work(f"ResNet-50: training step of {len(images)} pictures", step, step)
    loop = OurLoop(CIFAR, *pictures(), torch.device("cpu"), bf16=False)
    yield Work(f"{CIFAR}: {loop.steps} training steps of 128 pictures", loop, loop)
    for kind, title in KINDS.items():
        both = contest(kind, "cpu", size)
        found = partial(find, inference_copy(both.ours), both.batch, nullcontext)
        yield Work(f"{title}: inference", found, partial(find, both.ours, both.batch, nullcontext))
        train = partial(training_calls(both, nullcontext)[1], both.batch)
        yield Work(f"{title}: training step", train, train)


def inference(name: str, network: nn.Module, images: Tensor) -> Work:
    """Logits of pictures (N, 3, H, W)."""
    fused = partial(forward, inference_copy(network.eval()), images)
    return Work(name, fused, partial(forward, network, images))
