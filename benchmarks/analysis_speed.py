"""Analyses beside plain forward passes over the same pictures."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from analysis.lesions import LesionOptions, measure_lesions
from analysis.responses import measure_responses
from backbones import create_model
from backbones.lesion import find_blocks, without_blocks
from backbones.spec import Network
from benchmarks.backbone_speed import Pair

BATCH = 100
RESPONSES = 2000  # pictures
LESIONS = 100


def noise(pictures: int, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the same noise again and again, (BATCH, 3, 32, 32), with labels."""
    images = torch.randn(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)
    labels = torch.arange(BATCH, device=device) % 10
    for _ in range(pictures // BATCH):
        yield images, labels


@torch.inference_mode()
def forward(network: nn.Module, pictures: int, device: str) -> None:
    """The plain pass."""
    for images, _ in noise(pictures, device):
        network(images)


@torch.inference_mode()
def delete_each(network: Network, pictures: int, device: str) -> list[float]:
    """Errors in per cent without each block, by whole passes."""
    errors = []
    for block in find_blocks(network):
        with without_blocks(network, [block]):
            wrong = [(network(x).argmax(1) != labels).sum() for x, labels in noise(pictures, device)]
        errors.append(100 * torch.stack(wrong).sum().item() / pictures)
    return errors


def analysis_calls(device: str) -> Iterator[Pair]:
    """Responses of ResNet-20 beside its forward pass; single deletions of ResNet-56 beside whole passes."""
    network = create_model("resnet20_cifar").to(device).eval()
    yield (
        f"resnet20_cifar: responses over {RESPONSES:,} pictures (peer: its forward pass)",
        lambda: measure_responses(network, noise(RESPONSES, device)),
        partial(forward, network, RESPONSES, device),
    )
    deeper = create_model("resnet56_cifar").to(device).eval()
    options = LesionOptions(deleted=(), swapped=())
    yield (
        f"resnet56_cifar: each of 27 blocks deleted, {LESIONS} pictures (peer: whole passes)",
        lambda: measure_lesions(deeper, noise(LESIONS, device), options, 0),
        partial(delete_each, deeper, LESIONS, device),
    )
