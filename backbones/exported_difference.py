"""Exported files compared with the network they were made of, as exactly as its own rounding allows."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from foundation.errors import ExportError

TOLERANCE = 1e-4  # of the largest value; other kernels add up in another order
# A right file is as far from double precision as the network is, perhaps on the other side of it.
TIMES_ROUNDING = 4
MOST = 1e-2  # however badly a network rounds: beyond it a file of other weights could pass
UNSTABLE = 0.05  # of the detections may come and go by rounding, where scores or overlaps are nearly equal
Outputs = Mapping[str, Tensor]


@torch.no_grad()
def compare_exported(
    module: Any,
    run: Callable[[Tensor], Sequence[Tensor]],
    batches: Iterable[Tensor],
    *,
    path: str | Path,
    kind: str,
    counted: str | None = None,
) -> float:
    """Compares an exported file, run on the CPU, with the module that was traced.

    Differences are parts of an output's largest value. `TOLERANCE` is always rounding; so is
    `TIMES_ROUNDING` times the module's own difference from double precision, up to `MOST`.

    Args:
        module: names its `outputs`; deterministic.
        run: the file as a function.
        batches: pictures (N, 3, H, W).
        path, kind: of the file, and what the module is made of, for errors.
        counted: name of the output, (N, D) bool, that says which rows of the others count. All but
            `UNSTABLE` of these rows are compared, with the nearest of their picture. None: all values are.
    Returns:
        The largest difference.
    Raises:
        ExportError: it is more than rounding, or an output has another shape.
    """
    double, rounding, differences = copy.deepcopy(module).double(), dict[str, float](), []
    for images in batches:
        expected = _by_name(module, module(images))
        found = dict(zip(module.outputs, run(images), strict=True))
        where = f"of {tuple(images.shape)} pictures"
        for name, values in expected.items():
            if found[name].shape != values.shape:
                raise ExportError(
                    f"{path}: {name} {where} should be {tuple(values.shape)}, is {tuple(found[name].shape)}"
                )
        with _InDouble():
            exact = _by_name(module, double(images))
        for name, distance in _distances(expected, exact, counted).items():
            rounding[name] = max(rounding.get(name, 0.0), distance)
        differences += [(where, *item) for item in _distances(expected, found, counted).items()]
    for where, name, difference in differences:
        most = max(TOLERANCE, min(TIMES_ROUNDING * rounding.get(name, 0.0), MOST))
        if not difference <= most:
            raise ExportError(
                f"{path}: {name} {where} differ by {difference:.1e} of the largest value, at most {most:.1e} "
                f"is rounding; was it made of this {kind}?"
            )
    return max((difference for *_, difference in differences), default=0.0)


class _InDouble(TorchDispatchMode):
    """Every operation on float32 is one on float64, even where a module names float32 itself."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return func(*tree_map(_widened, args), **tree_map(_widened, dict(kwargs or {})))


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype == torch.float32:
        return value.double()
    return torch.float64 if value is torch.float32 else value


def _by_name(module: Any, outputs: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    values = outputs.values() if isinstance(outputs, dict) else [outputs]
    return dict(zip(module.outputs, values, strict=True))


def _distances(expected: Outputs, found: Outputs, counted: str | None) -> dict[str, float]:
    """The largest difference of each output; of nothing found beside nothing there is none."""
    if counted is None:
        every = torch.ones(1, 1, dtype=torch.bool)  # everything is one row of one picture
        expected, found = (
            {"": every, **{name: values.reshape(1, 1, -1) for name, values in outputs.items()}}
            for outputs in (expected, found)
        )
        counted = ""
    names = [name for name in expected if name != counted]
    scales = {
        name: rows.double().abs().max().clamp(min=1e-6)
        for name in names
        if (rows := expected[name][expected[counted]]).numel()
    }
    largest: dict[str, float] = {}
    for picture in range(len(expected[counted])):
        ours, theirs = (
            {name: outputs[name][picture][outputs[counted][picture]].double() for name in names}
            for outputs in (expected, found)
        )
        for one, other in ((ours, theirs), (theirs, ours)):
            for name, distance in _to_the_nearest(one, other, scales).items():
                largest[name] = max(largest.get(name, 0.0), distance)
    return largest


def _to_the_nearest(rows: Outputs, others: Outputs, scales: Mapping[str, Any]) -> dict[str, float]:
    """How far the rows (K, …) are from their nearest among the others, but for the worst few of them."""
    count, other_count = (len(next(iter(each.values()))) for each in (rows, others))
    if not count:
        return {}
    if not other_count or not scales:
        return dict.fromkeys(rows, float("inf"))
    apart = torch.stack(  # (outputs, K, others)
        [
            (rows[name].reshape(count, 1, -1) - others[name].reshape(other_count, -1)).abs().amax(2)
            / scales[name]
            for name in rows
        ]
    ).nan_to_num(torch.inf, torch.inf)
    nearest = apart.amax(0).argmin(1)
    apart = apart[:, torch.arange(count), nearest]
    few = int(UNSTABLE * count) if apart.isfinite().all() else 0
    best = apart.amax(0).argsort()[: count - few]
    return dict(zip(rows, apart[:, best].amax(1).tolist(), strict=True))
