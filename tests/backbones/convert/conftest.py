"""Weight files and networks that the tests of conversions share."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backbones import IMAGENET_INPUT, WeightsHeader, create_model, save_weights
from backbones.convert import convert
from backbones.convert.caffemodel import Layer


@pytest.fixture
def ours(randomise_norms) -> Callable[..., tuple[Path, nn.Module]]:
    def make(folder: Path, name: str, spec=IMAGENET_INPUT, **options) -> tuple[Path, nn.Module]:
        """A file of ours with random weights, and its network."""
        torch.manual_seed(0)
        network = create_model(name, **options).eval()
        randomise_norms(network)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.num_batches_tracked.fill_(7)
        path = folder / "ours.safetensors"
        header = WeightsHeader(name, network.options, spec, dataset="x train", score={"top1": 50.0})
        save_weights(path, network.state_dict(), header)
        return path, network

    return make


@pytest.fixture
def logits() -> Callable[..., Tensor]:
    def run(network: nn.Module, size: int = 64) -> Tensor:
        torch.manual_seed(1)
        with torch.no_grad():
            return network(torch.randn(2, 3, size, size))

    return run


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-18 for 3 classes, as torchvision would save it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("small") / "r18.pth"
    torch.save(create_model("resnet18", num_classes=3).state_dict(), path)
    return path


@pytest.fixture
def cifar(tmp_path: Path, write: Callable[..., Path]) -> Path:
    """A ResNet-20 for CIFAR with a header."""
    return write(tmp_path / "r20.safetensors", "resnet20_cifar")


@pytest.fixture
def write() -> Callable[..., Path]:
    def call(path: Path, name: str, *, spec=IMAGENET_INPUT, eps=1e-5, more=None, **options) -> Path:
        network = create_model(name, **options)
        header = WeightsHeader(name, network.options | (more or {}), spec, norm_eps=eps)
        save_weights(path, network.state_dict(), header)
        return path

    return call


@pytest.fixture
def changed() -> Callable[..., Path]:
    def call(source: Path, target: Path, *, without: tuple[str, ...] = (), **tensors) -> Path:
        state = torch.load(source, weights_only=True)
        torch.save({name: value for name, value in (state | tensors).items() if name not in without}, target)
        return target

    return call


@pytest.fixture
def refusal() -> Callable[..., str]:
    def call(source: Path, target: Path, **options) -> str:
        before = target.read_bytes() if target.is_file() else None
        with pytest.raises(ValueError) as caught:
            convert(source, target, **options)
        assert getattr(caught.value, "exit_status", None) == 2
        assert (target.read_bytes() if target.is_file() else None) == before  # nothing was written
        assert len(str(caught.value).splitlines()) < 24
        return str(caught.value)

    return call


RELEASE = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def block_names(depth: int) -> list[tuple[int, list[str]]]:
    """Blocks as the release names them: 2a 2b 2c 3a 3b …, in 101 layers 3b1 3b2 … and 4b1 … 4b22."""
    named = []
    for stage, count in zip((2, 3, 4, 5), RELEASE[depth], strict=True):
        if depth > 50 and stage in (3, 4):
            named.append((stage, [f"{stage}a", *(f"{stage}b{i}" for i in range(1, count))]))
        else:
            named.append((stage, [f"{stage}{letter}" for letter in "abcdef"[:count]]))
    return named


@pytest.fixture
def random_release() -> Callable[..., list[Layer]]:
    def call(depth: int, width: int = 64) -> list[Layer]:
        """A model like those released: statistics with a factor, and with 50 layers a bias in conv1."""
        torch.manual_seed(0)
        layers = []

        def add(names: tuple[str, str, str], *shape: int, bias: bool = False) -> None:
            fan_in, factor = shape[1] * shape[2] * shape[3], 999.98
            blobs = [torch.randn(shape) * (2 / fan_in) ** 0.5]
            if bias:
                blobs.append(torch.randn(shape[0]))
            mean, var = 0.1 * torch.randn(shape[0]), 0.5 + 1.5 * torch.rand(shape[0])
            layers.append(Layer(names[0], blobs, "Convolution"))
            layers.append(Layer(names[1], [mean * factor, var * factor, torch.tensor([factor])], "BatchNorm"))
            layers.append(
                Layer(names[2], [0.5 + torch.rand(shape[0]) / 2, 0.1 * torch.randn(shape[0])], "Scale")
            )

        add(("conv1", "bn_conv1", "scale_conv1"), 64, 3, 7, 7, bias=depth == 50)
        channels = 64
        for stage, blocks in block_names(depth):
            inner, outer = width << (stage - 2), 4 * width << (stage - 2)
            for block in blocks:
                kinds = ("res", "bn", "scale")
                if block.endswith("a"):
                    add(tuple(f"{kind}{block}_branch1" for kind in kinds), outer, channels, 1, 1)
                add(tuple(f"{kind}{block}_branch2a" for kind in kinds), inner, channels, 1, 1)
                add(tuple(f"{kind}{block}_branch2b" for kind in kinds), inner, inner, 3, 3)
                add(tuple(f"{kind}{block}_branch2c" for kind in kinds), outer, inner, 1, 1)
                channels = outer
        layers.append(
            Layer("fc1000", [0.01 * torch.randn(1000, channels), torch.randn(1000)], "InnerProduct")
        )
        return layers

    return call
