"""The memory of a step, estimated and measured."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from detection.build import build_detector
from doctor import step_memory as memory

CASCADE = ("roi.stages=3", "detector.class_agnostic=true", "detector.context=true")


@pytest.mark.parametrize("options", [(), CASCADE], ids=["plain", "cascade"])
def test_memory_is_what_a_whole_step_keeps(configured: Callable, tmp_path: Path, options: tuple[str, ...]):
    """Two large pictures measured, against the line through three tiny ones."""
    config = configured(tmp_path, "roi.regions_per_image=24", *options)
    model = build_detector(config, 3)
    size, pictures = (192, 256), 2
    estimated = memory.estimate(config, model, size, pictures)
    model.roi_heads.options = replace(model.roi_heads.options, regions_per_image=24)
    batch = memory._noise(size, masks=False)
    own = {tensor.data_ptr() for tensor in chain(model.parameters(), model.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    two = replace(
        batch,
        **{k: torch.cat([v, v]) for k, v in vars(batch).items() if isinstance(v, torch.Tensor)},
        ids=["", ""],
    )
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model.train()(two)
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert estimated.activations == pytest.approx(real, rel=0.05)
    trained = sum(parameter.nbytes for parameter in model.parameters())
    assert estimated.training == 2 * trained
    lamb = SimpleNamespace(run=config.run, roi=config.roi, optim=replace(config.optim, kind="adamw"))
    assert memory.estimate(lamb, model, size, 1).training == 3 * trained  # type: ignore[arg-type]
