"""Networks for semantic segmentation for other runtimes: torch.export programs (.pt2) and ONNX files.

A file takes pictures of any batch, height and width, as they are after resizing, and gives every pixel a
class. `check_export` compares a file with the network that it was made of.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from backbones.export import (
    SHAPES,
    TRACED,
    Exported,
    Pixels,
    example_pictures,
    free_target,
    open_exported,
    write_exported,
)
from backbones.exported_difference import compare_exported
from foundation.errors import ExportError, UserError, check_choice
from segmentation.build import TrainedSegmenter
from segmentation.model.segmenter import Segmenter

Output = Literal["labels", "logits"]


class _WholeCells(nn.Module):
    """A network that answers as it is evaluated."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network, self.input_spec = network, network.input_spec

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.network.whole_cells(images)


class ExportedSegmenter(nn.Module):
    """What goes into a file: a copy of a network in eval mode, without its auxiliary head.

    Args:
        network: any of ours.
        pixels, fold: as of `backbones.export.Exported`.
        output: "labels", the class of each pixel, or "logits" of all classes.

    Attributes:
        outputs: names of what it returns.
    """

    def __init__(
        self, network: Segmenter, *, pixels: Pixels = "uint8", fold: bool = False, output: Output = "labels"
    ) -> None:
        super().__init__()
        check_choice("output", output, get_args(Output))
        self.logits = Exported(cast(Any, _WholeCells(network)), pixels=pixels, fold=fold).cpu()
        cast(Any, self.logits.network).network.aux_classifier = None
        self.outputs = [output]
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) pictures → labels (N, H, W) uint8, the first of equals, or logits (N, K, H, W)."""
        logits = cast(Any, self.logits(images))["out"]
        return logits if self.outputs == ["logits"] else logits.argmax(dim=1).to(torch.uint8)


class _Largest(nn.Module):
    """The largest logit of each pixel, (N, H, W), and the logits that a file's labels chose."""

    def __init__(self, network: Segmenter, pixels: Pixels) -> None:
        super().__init__()
        self.logits = ExportedSegmenter(network, pixels=pixels, output="logits")
        self.outputs = ["logits of the labels"]

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(images).amax(dim=1)

    @torch.no_grad()
    def chosen(
        self, images: Tensor, run: Callable[[Tensor], Sequence[Tensor]], path: str | Path
    ) -> list[Tensor]:
        (labels,), logits = run(images), self.logits(images)
        expected = (logits.shape[0], *logits.shape[2:])
        if labels.shape != expected or int(labels.max()) >= logits.shape[1]:
            raise ExportError(
                f"{path}: labels of {tuple(images.shape)} pictures should be {expected} from 0 to "
                f"{logits.shape[1] - 1}, are {tuple(labels.shape)} to {int(labels.max())}"
            )
        return [logits.gather(1, labels[:, None].long())[:, 0]]


def export(
    trained: TrainedSegmenter,
    path: str | Path,
    *,
    pixels: Pixels = "uint8",
    fold: bool = False,
    output: Output = "labels",
    overwrite: bool = False,
) -> None:
    """Writes a .onnx or .pt2 file for any batch, height and width.

    Its input is `images`, (N, 3, H, W), resized as the metadata's short_side says, None being as they are;
    its output is `labels` (N, H, W) uint8, or `logits` (N, K, H, W) float32.

    Args:
        trained: as `segmentation.build.load_trained` returns.
        pixels: "float32" or "uint8" take RGB in 0-255, "normalised" what the network takes.
        output: which of both.
        path, fold, overwrite: as of `backbones.export.export`, as are the errors.
    Raises:
        UserError: the configuration looks at a picture more than once; a file does not.
    """
    if not trained.config.testing.one_look or trained.config.testing.scales != (1.0,):
        raise UserError(
            "the configuration looks at scales, mirror images or windows of a picture; a file sees it once: "
            'give "testing.scales=[1]" testing.flip=false testing.window=null'
        )
    path = free_target(path, overwrite=overwrite)
    module = ExportedSegmenter(trained.network, pixels=pixels, fold=fold, output=output)
    metadata = {
        "model": trained.network.name,
        "options": trained.network.options,
        "pixels": pixels,
        "input_spec": asdict(trained.network.input_spec),
        "short_side": trained.config.data.short_side,
        "outputs": module.outputs,
        "classes": trained.classes,
    }
    write_exported(module, example_pictures(pixels, TRACED), path, metadata)


def check_export(network: Segmenter, path: str | Path, *, shapes: Iterable[Sequence[int]] = SHAPES) -> float:
    """The largest difference of an exported file from the network that it was made of.

    A label is as far off as the network's logit of that class is below its largest there, so that rounding
    may decide between classes that the network holds for equal.

    Args:
        network: as given to `export`, which wrote the path.
        shapes: (N, 3, H, W) of random pictures.
    Returns:
        The difference as a part of the largest logit.
    Raises:
        ExportError: as `compare_exported`, or the labels have another shape or range.
    """
    run, metadata = open_exported(Path(path))
    pixels = metadata["pixels"]
    batches = (example_pictures(pixels, shape) for shape in shapes)
    if metadata["outputs"] == ["logits"]:
        module = ExportedSegmenter(network, pixels=pixels, output="logits")
        return compare_exported(module, run, batches, path=path, kind="network")
    largest = _Largest(network, pixels)
    return compare_exported(
        largest, lambda images: largest.chosen(images, run, path), batches, path=path, kind="network"
    )
