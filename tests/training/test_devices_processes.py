"""One process needs no set-up; two find each other and agree."""

from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import nn

from training.devices import (
    broadcast_object,
    gather_objects,
    is_main,
    process_group,
    rank,
    world_size,
    wrap,
)

CPU = torch.device("cpu")
# w starts at 0 in both; process r has the input r + 1, so the mean gradient of w is 1.5.
TWO = """
import json, torch, torch.distributed as dist
from torch import nn
from training.devices import broadcast_buffers, broadcast_object, gather_objects, is_main
from training.devices import mean_over_processes, process_group, rank, world_size, wrap

me = rank()
with process_group(torch.device("cpu")):
    with process_group(torch.device("cpu")):
        pass
    said = {"main": is_main(), "size": world_size(), "backend": dist.get_backend()}
    said["gathered"] = gather_objects({"rank": me, "shares": "ab" * (me + 1)})
    mean = mean_over_processes({"loss": torch.tensor(2.0 * me), "error": torch.tensor(50.0 - 10 * me)})
    said["mean"] = {name: value.item() for name, value in mean.items()}
    said["told"] = broadcast_object({"from": me, "none": None})
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    network = wrap(model)
    network(torch.tensor([[me + 1.0]])).sum().backward()
    said["gradient"] = model.weight.grad.item()
    norm = nn.BatchNorm1d(1)
    norm.running_mean.fill_(me + 5)
    broadcast_buffers(norm)
    said["running mean"] = norm.running_mean.item()
said["left"] = not dist.is_initialized()
print(json.dumps(said))
"""


def test_one_process():
    assert (rank(), world_size(), is_main()) == (0, 1, True)
    value, model = {"AP": 0.5}, nn.Linear(1, 1)
    with process_group(CPU):
        assert not dist.is_initialized()
        assert gather_objects(value) == [value]
        assert broadcast_object(value) is value
        assert wrap(model) is model


def test_only_the_first_process_is_the_main_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (rank(), world_size(), is_main()) == (3, 4, False)


def test_two_processes(in_processes: Callable):
    first, second = in_processes(TWO)
    assert (first.pop("main"), second.pop("main")) == (True, False)
    assert first == second == {
        "size": 2,
        "backend": "gloo",
        "gathered": [{"rank": 0, "shares": "ab"}, {"rank": 1, "shares": "abab"}],
        "mean": {"loss": 1.0, "error": 45.0},
        "told": {"from": 0, "none": None},
        "gradient": 1.5,
        "running mean": 5.0,
        "left": True,
    }  # fmt: skip


KERNEL = """
import json, warnings, torch
from torch import nn
from torch.nn import functional as F
from training.devices import process_group, wrap

class AsMatrix(nn.Module):
    def __init__(self):
        super().__init__()
        self.kernel = nn.Conv2d(4, 3, 1).to(memory_format=torch.channels_last)

    def forward(self, x):
        return F.linear(x, self.kernel.weight.flatten(1), self.kernel.bias)

with process_group(torch.device("cpu")), warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    network = wrap(AsMatrix())
    network(torch.ones(2, 4)).sum().backward()
    strides = network.module.kernel.weight.stride(), network.module.kernel.weight.grad.stride()
print(json.dumps({"strides": strides, "seen": [str(warning.message) for warning in seen]}))
"""


def test_strides_that_differ_where_a_side_is_one_are_no_warning(in_processes: Callable):
    for said in in_processes(KERNEL):
        assert said["strides"] == [[4, 1, 4, 4], [4, 1, 1, 1]]
        assert said["seen"] == []
