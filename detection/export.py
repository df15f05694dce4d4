"""Detectors for other runtimes: torch.export programs (.pt2) and ONNX files, for any batch and picture size.

A file takes pictures of one size, as they are after resizing, and gives detections in fixed shapes, as
`FasterRCNN` does; nothing found is a legal answer. Programs need torchvision's operations at run time, ONNX
files the standard's only. `check_export` compares a file with the detector that it was made of.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms

from backbones.export import example_pictures, free_target, onnx_package, open_exported, write_exported
from backbones.exported_difference import compare_exported
from backbones.norm import fold_batchnorm
from detection.build import LoadedDetector
from detection.data.detection_batches import SIZE_MULTIPLE
from detection.model.detector import FasterRCNN
from detection.types import Batch
from foundation.errors import UserError, check_choice

Pixels = Literal["uint8", "float32"]
TRACED = (2, 3, 128, 192)  # the top of a pyramid, too, has more than one cell, which torch would fix
# Other batches and sizes than that, some odd: what tracing had fixed would show.
SHAPES = ((1, 3, 128, 160), (3, 3, 75, 91))
ONNX_BOOL = 9  # onnx.TensorProto's number of the type


class ExportedDetector(nn.Module):
    """What goes into a file: a copy of a detector in eval mode that takes nothing but pictures.

    Args:
        detector: any of ours, with masks or without.
        pixels: the type of the pictures, RGB in 0-255.
        fold: folds batch normalisation into the convolutions.

    Attributes:
        outputs: names of what it returns.
    """

    def __init__(self, detector: FasterRCNN, *, pixels: Pixels = "uint8", fold: bool = False) -> None:
        super().__init__()
        check_choice("kind of pixels", pixels, get_args(Pixels))
        self.detector = copy.deepcopy(detector).cpu().eval().requires_grad_(False)
        if fold:
            self.detector = fold_batchnorm(self.detector)
        masks = [] if detector.roi_heads.mask_head is None else ["masks"]
        self.outputs = ["boxes", "scores", "labels", "valid", *masks]
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) RGB pictures in 0-255 → the fields of `Detections` by name; boxes in their pixels."""
        count, _, height, width = images.shape
        padded = F.pad(images, (0, -width % SIZE_MULTIPLE, 0, -height % SIZE_MULTIPLE))
        unused = torch.zeros(count, dtype=torch.int64, device=images.device)
        sizes = torch.stack([unused + height, unused + width], dim=1)
        batch = Batch(padded, sizes, unused, unused, unused, unused, unused, ids=[])
        found = self.detector(batch)._asdict()
        return {name: values for name, values in found.items() if values is not None}


def export(
    loaded: LoadedDetector,
    path: str | Path,
    *,
    pixels: Pixels = "uint8",
    fold: bool = False,
    overwrite: bool = False,
) -> None:
    """Writes a .onnx or .pt2 file for any batch, height and width.

    Its input is `images`, (N, 3, H, W) RGB in 0-255, resized as the metadata's short_side and max_side say;
    its outputs are boxes (N, D, 4) in their pixels, scores, labels and valid (N, D), perhaps masks
    (N, D, M, M). A .pt2 file of a pyramid refuses pictures with a side of 64 or less.

    Args:
        loaded: as `detection.build.load_detector` returns.
        pixels: the type of the pictures.
        path, fold, overwrite: as of `backbones.export.export`, as are the errors.
    Raises:
        UserError: the detector reads regions from several sizes of a picture; a file takes one.
    """
    if scales := loaded.model.roi_heads.testing.scales:
        raise UserError(
            f"testing.scales={list(scales)} reads regions from several sizes of a picture, and a file takes "
            "pictures of one; give testing.scales=[]"
        )
    path = free_target(path, overwrite=overwrite)
    module, images = (
        ExportedDetector(loaded.model, pixels=pixels, fold=fold),
        example_pictures(pixels, TRACED),
    )
    with torch.no_grad():
        module(images)  # fills the caches of constants, which tracing could not
    metadata = {
        "model": type(loaded.model).__name__,
        "options": asdict(loaded.config.detector) | asdict(loaded.config.backbone),
        "pixels": pixels,
        "short_side": loaded.config.data.short_side,
        "max_side": loaded.config.data.max_side,
        "outputs": module.outputs,
        "classes": loaded.classes,
        "category_ids": loaded.category_ids,
    }
    write_exported(
        module,
        images,
        path,
        metadata,
        decompositions={torch.ops.residual_backbones.greedy_by_kernel.default: _greedy_of_torchvision},
        translations=_translations() if path.suffix == ".onnx" else None,
    )


def _translations() -> dict[Any, Any]:
    """Operations of our detectors, in ONNX, that torch's exporter does not know."""
    onnx_package("onnxscript")  # refuses with the remedy where it is not installed
    from onnxscript import opset18

    op: Any = opset18  # its types know no constants

    def greedy(boxes: Any, scores: Any, valid: Any, groups: Any, threshold: float) -> Any:
        """`_greedy_by_kernel` of model.suppression, (N, M) bool: groups are NonMaxSuppression's classes."""
        one = op.Constant(value_int=1)
        classes = op.Range(op.Constant(value_int=0), op.Add(op.ReduceMax(groups, keepdims=0), one), one)
        own = op.Equal(op.Unsqueeze(groups, [1]), op.Unsqueeze(classes, [0, 2]))  # (N, groups, M)
        takes_part = op.And(own, op.Unsqueeze(valid, [1]))
        lowest = op.Constant(value_float=float("-inf"))
        chosen = op.NonMaxSuppression(
            boxes,
            op.Where(takes_part, op.Unsqueeze(scores, [1]), lowest),
            op.Shape(valid, start=1, end=2),
            op.Constant(value_floats=[threshold]),
            op.Constant(value_floats=[torch.finfo(torch.float32).min]),  # only higher scores take part
        )
        places = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)
        kept = op.Expand(op.Cast(one, to=ONNX_BOOL), op.Shape(chosen, start=0, end=1))
        return op.ScatterND(op.And(valid, op.Not(valid)), places, kept)

    def sort(values: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
        """torch.sort by TopK of everything, which of equal values takes the first first."""
        count = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
        return op.TopK(values, count, axis=dim, largest=int(descending), sorted=1)

    def argsort(values: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
        return sort(values, stable, dim, descending)[1]

    return {
        torch.ops.residual_backbones.greedy_by_kernel.default: greedy,
        torch.ops.aten.sort.stable: sort,
        torch.ops.aten.argsort.stable: argsort,
    }


def _greedy_of_torchvision(
    boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor, threshold: float
) -> Tensor:
    """The operation of `padded_nms` in one call for all pictures and groups, however many there are.

    Groups are moved apart in double precision, which costs a float32 box no digits.
    """
    count, size = valid.shape
    places = torch.arange(count, device=boxes.device)[:, None] * (groups.amax() + 1) + groups
    far = 2 * boxes.abs().amax().double() + 1
    moved = torch.where(valid[..., None], boxes.double() + (places * far)[..., None], 0.0)
    ranking = torch.where(valid, scores.double(), -torch.inf)
    best = nms(moved.flatten(0, 1), ranking.flatten(), threshold)
    kept = torch.zeros(count * size, dtype=torch.bool, device=boxes.device).index_fill(0, best, True)
    return kept.view(count, size) & valid


def check_export(
    detector: FasterRCNN, path: str | Path, *, shapes: Iterable[Sequence[int]] = SHAPES
) -> float:
    """As `backbones.export.check_export`, of a detector; few detections may come and go."""
    run, metadata = open_exported(Path(path))
    module = ExportedDetector(detector, pixels=metadata["pixels"])
    batches = (example_pictures(metadata["pixels"], shape) for shape in shapes)
    return compare_exported(module, run, batches, path=path, kind="detector", counted="valid")
