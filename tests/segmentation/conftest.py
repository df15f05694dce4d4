"""Small sets of label maps that tests write, and small networks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from backbones import save_weights
from backbones.spec import InputSpec
from segmentation.build import build_segmenter, trained_header
from segmentation.config import SegmentationConfig
from training.config import load_config

LabelWriter = Callable[..., Path]


def save(path: Path, values: Sequence | np.ndarray) -> Path:
    """A picture of these values (H, W[, 3]), in folders that are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def write_devkit(tmp_path: Path) -> LabelWriter:
    """write_devkit({"a": [[0, 1]]}, "train") writes a VOC2012 with these label maps, and grey pictures."""

    def write(maps: dict[str, Sequence], *splits: str, folder: str = "SegmentationClass") -> Path:
        year = tmp_path / "VOCdevkit" / "VOC2012"
        (year / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
        for name, labels in maps.items():
            save(year / folder / f"{name}.png", labels)
            save(year / "JPEGImages" / f"{name}.jpg", np.full((*np.shape(labels), 3), 128))
        for split in splits:
            (year / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(maps) + "\n")
        return year.parent

    return write


@pytest.fixture
def write_folders(tmp_path: Path) -> LabelWriter:
    """Writes images/, masks/ and classes.txt ("ground", "thing") of label maps by name."""

    def write(maps: dict[str, Sequence], root: Path = tmp_path / "mine") -> Path:
        for name, labels in maps.items():
            save(root / "masks" / f"{name}.png", labels)
            save(root / "images" / f"{name}.jpg", np.full((*np.shape(labels), 3), 128))
        (root / "classes.txt").write_text("ground\nthing\n")
        return root

    return write


class ByColour(nn.Module):
    """Class 0, 1 or 2 where a pixel is mostly red, green or blue; logits are the colours."""

    def __init__(self) -> None:
        super().__init__()
        self.input_spec = InputSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), order="RGB", range=1.0)
        self.aux_classifier: Any = None
        self.scale = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[int, int]] = []  # sizes of what it was shown

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.seen.append((images.shape[2], images.shape[3]))
        return {"out": images * self.scale}

    def whole_cells(self, images: Tensor) -> dict[str, Tensor]:
        return self(images)  # its cells are pixels


@pytest.fixture
def by_colour() -> ByColour:
    return ByColour().eval()


def blocks() -> np.ndarray:
    """(40, 60, 3) uint8, of squares of 10 pixels in random colours."""
    colours = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return colours.repeat(10, axis=0).repeat(10, axis=1)


@pytest.fixture(scope="session")
def segmenter_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of "ground", "cat" and "dog", as tools/train_seg.py writes it, that finds all three."""
    torch.manual_seed(0)
    model = ["model.name=fcn_resnet20_cifar", "model.output_stride=4", "model.aux=true"]
    config = load_config(SegmentationConfig, None, [*model, "data.kind=shapes", "run.device=cuda"])
    classes = ["ground", "cat", "dog"]
    network = build_segmenter(config, classes).eval()
    with torch.no_grad():
        last, images = network.classifier[-1], torch.from_numpy(blocks()).permute(2, 0, 1)[None]
        last.weight.mul_(20)
        last.bias.sub_(network(network.input_spec.normalise(images))["out"].mean((0, 2, 3)))
    file = tmp_path_factory.mktemp("segmenter") / "best.safetensors"
    save_weights(file, network.state_dict(), trained_header(network, config, classes, {"mIoU": 0.5}))
    return file


@pytest.fixture
def picture() -> np.ndarray:
    """Shown to that network."""
    return blocks()
