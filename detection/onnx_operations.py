"""Operations of our detectors in ONNX that torch's exporter does not know."""

from typing import Any

import torch
from onnxscript import opset18

op: Any = opset18  # its types know no constants
BOOL = 9  # onnx.TensorProto's number of the type
LOWEST = torch.finfo(torch.float32).min


def greedy(boxes: Any, scores: Any, valid: Any, groups: Any, threshold: float) -> Any:
    """`_greedy_by_kernel` of model.suppression, (N, M) bool: groups are NonMaxSuppression's classes."""
    one = op.Constant(value_int=1)
    classes = op.Range(op.Constant(value_int=0), op.Add(op.ReduceMax(groups, keepdims=0), one), one)
    own = op.Equal(op.Unsqueeze(groups, [1]), op.Unsqueeze(classes, [0, 2]))  # (N, groups, M)
    takes_part = op.And(own, op.Unsqueeze(valid, [1]))
    ranking = op.Where(takes_part, op.Unsqueeze(scores, [1]), op.Constant(value_float=float("-inf")))
    chosen = op.NonMaxSuppression(
        boxes,
        ranking,
        op.Shape(valid, start=1, end=2),
        op.Constant(value_floats=[threshold]),
        op.Constant(value_floats=[LOWEST]),  # only higher scores take part
    )
    places = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)
    kept = op.Expand(op.Cast(one, to=BOOL), op.Shape(chosen, start=0, end=1))
    return op.ScatterND(op.And(valid, op.Not(valid)), places, kept)


def sort(values: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    """torch.sort by TopK of everything, which of equal values takes the first first."""
    count = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
    return op.TopK(values, count, axis=dim, largest=int(descending), sorted=1)


def argsort(values: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """torch.argsort likewise."""
    return sort(values, stable, dim, descending)[1]


TRANSLATIONS: dict[Any, Any] = {
    torch.ops.residual_backbones.greedy_by_kernel.default: greedy,
    torch.ops.aten.sort.stable: sort,
    torch.ops.aten.argsort.stable: argsort,
}
