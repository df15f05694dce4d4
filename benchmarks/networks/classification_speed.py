"""ResNet-50 that classifies, with everything around the network, beside torchvision's and timm's."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from backbones import create_model
from benchmarks.backbone_speed import Call, Pair, host_networks
from training.compile import compile_blocks
from training.devices import emulates_bf16

PICTURES = {"cpu": 8, "cuda": 128}
SIDE = 224


def classification_calls(device: str) -> Iterator[Pair]:
    """Training steps and inference in fp32, and on a GPU in bf16 where it has that."""
    yield from calls_in(device, bf16=False)
    if device != "cpu" and not emulates_bf16(torch.device(device)):
        yield from calls_in(device, bf16=True)


def calls_in(device: str, *, bf16: bool) -> Iterator[Pair]:
    """Noise pictures of 224 pixels, channels_last for all: a training step and inference.

    On a GPU batches of 128 and all compiled, ours by blocks, the peers as they are; on a CPU 8 and eager.
    """
    images, labels = noise(device)
    ours, peers = create_model("resnet50"), host_networks("resnet50")
    for network in (ours, *peers.values()):
        network.to(device).to(memory_format=torch.channels_last)
    if device == "cuda":
        compile_blocks(ours)
        for peer in peers.values():
            peer.compile()
    how = f"{'bf16' if bf16 else 'fp32'}{', compiled' if device == 'cuda' else ''}"
    for name, peer in peers.items():
        yield (
            f"ResNet-50 training step, {how} (peer: {name})",
            training_step(ours, images, labels, bf16=bf16),
            training_step(peer, images, labels, bf16=bf16),
        )
        yield (
            f"ResNet-50 inference, {how} (peer: {name})",
            partial(infer, ours, images, bf16=bf16),
            partial(infer, peer, images, bf16=bf16),
        )


def noise(device: str) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, 224, 224) in channels_last, and labels (N,)."""
    images = torch.randn(PICTURES[device], 3, SIDE, SIDE, device=device)
    labels = torch.randint(1000, (len(images),), device=device)
    return images.contiguous(memory_format=torch.channels_last), labels


def training_step(network: nn.Module, images: Tensor, labels: Tensor, *, bf16: bool = False) -> Call:
    """A call that takes a step of SGD."""
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)

    def step() -> None:
        network.train()
        optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()

    return step


@torch.inference_mode()
def infer(network: nn.Module, images: Tensor, *, bf16: bool) -> None:
    """Logits in evaluation mode."""
    network.eval()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        network(images)
