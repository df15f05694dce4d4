"""Our networks beside torchvision's and timm's on equal weights: time and memory."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from backbones import create_model
from backbones.norm import fold_batchnorm
from benchmarks.detectors.peers import cifar_resnet
from foundation.errors import UserError
from reproduction.tables import markdown_table

Call = Callable[[], Any]
Pair = tuple[str, Call, Call]  # what is timed, ours and the peer's way of doing it


def host_networks(name: str) -> dict[str, nn.Module]:
    """The same network of torchvision and timm.

    Raises:
        UserError: timm is not installed.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise UserError('timm is not installed; pip install ".[timm]", or time other parts') from error
    return {"torchvision": getattr(torchvision.models, name)(), "timm": timm.create_model(name)}


def pairs(device: str) -> Iterator[tuple[str, nn.Module, nn.Module, Tensor]]:
    """(what, our network, the peer's with our weights, pictures)."""
    for name, batch in (("resnet50", 4), ("resnet152", 2)):
        images = torch.randn(batch, 3, 224, 224, device=device)
        ours = create_model(name).to(device)
        for host, peer in host_networks(name).items():
            yield f"{name}, {host}", ours, _copy(ours, peer).to(device), images
    ours = create_model("resnet110_cifar", shortcut="B").to(device)
    images = torch.randn(32, 3, 32, 32, device=device)
    yield "resnet110_cifar, of torchvision's blocks", ours, _copy(ours, cifar_resnet(110)).to(device), images


def _copy(ours: nn.Module, peer: nn.Module) -> nn.Module:
    peer.load_state_dict(ours.state_dict())
    return peer


def speed_calls(device: str) -> Iterator[Pair]:
    """Forward, and forward with backward, fp32; at last our ResNet-50 folded, torchvision's as it is."""
    for name, ours, peer, images in pairs(device):
        yield f"{name}: forward", partial(forward, ours, images), partial(forward, peer, images)
        what = f"{name}: forward and backward"
        yield what, partial(backward, ours, images), partial(backward, peer, images)
    folded, peer, images = folded_pair(device)
    yield (
        "resnet50 folded and channels_last, torchvision as it is: forward",
        partial(forward, folded, images.contiguous(memory_format=torch.channels_last)),
        partial(forward, peer, images),
    )


def folded_pair(device: str) -> tuple[nn.Module, nn.Module, Tensor]:
    """Our ResNet-50 with its normalisation folded, torchvision's with the same weights, four pictures."""
    ours, peer = create_model("resnet50"), torchvision.models.resnet50()
    peer.load_state_dict(ours.state_dict())
    folded: nn.Module = fold_batchnorm(ours.eval()).to(memory_format=torch.channels_last)
    return folded.to(device), peer.to(device), torch.randn(4, 3, 224, 224, device=device)


@torch.inference_mode()
def forward(network: nn.Module, images: Tensor) -> Tensor:
    """Logits in evaluation mode."""
    return network.eval()(images)


def backward(network: nn.Module, images: Tensor) -> None:
    """Gradients of a loss in training mode."""
    network.zero_grad()
    network.train()(images).square().mean().backward()


def kept_for_backward(network: nn.Module, images: Tensor) -> int:
    """Bytes that autograd keeps from forward to backward in training, but for the network's own tensors."""
    own = {t.untyped_storage().data_ptr() for t in chain(network.parameters(), network.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network.train()(images)  # alive until the sum, so that no address is used twice
    total = sum(kept.values())
    del output
    return total


def memory_table(device: str) -> str:
    """What training keeps from forward to backward, and what folding changes in the logits; Markdown."""
    kept = [
        (name, kept_for_backward(ours, images), kept_for_backward(peer, images))
        for name, ours, peer, images in pairs(device)
    ]
    folded, peer, images = folded_pair(device)
    logits, expected = forward(folded, images), forward(peer, images)
    change = ((logits - expected).abs().max() / expected.abs().max()).item()
    folding = f"Folding changes the logits of resnet50 by {change:.1e} of the largest."
    return f"{bytes_table('kept for backward', kept)}\n\n{folding}"


def bytes_table(what: str, rows: Iterable[tuple[str, int, int]]) -> str:
    """Bytes of ours and of the peer, in Markdown."""
    cells = [[name, f"{a / 2**20:.0f}", f"{b / 2**20:.0f}", f"{b / a:.2f}"] for name, a, b in rows]
    return markdown_table([what, "ours, MiB", "peer, MiB", "peer / ours"], cells)
