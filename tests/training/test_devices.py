"""Which device a name means, with and without GPUs, and what devices can do."""

import logging
import re
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from foundation.errors import UserError
from training import devices
from training.config import RunConfig, parse_config
from training.devices import (
    convolution_layout,
    fetch,
    has_float64,
    has_kernel,
    on_device,
    resolve_device,
    send,
)


@dataclass(frozen=True)
class Configuration:
    run: RunConfig = RunConfig()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """machine(cuda=2) pretends so many GPUs of each kind; gives the list of those made current."""
    current: list[str] = []
    monkeypatch.delenv("LOCAL_RANK", raising=False)

    def pretend(**counts: int) -> list[str]:
        for kind in ("cuda", "xpu", "mps"):
            count = counts.get(kind, 0)
            module = torch.get_device_module(kind)
            monkeypatch.setattr(module, "is_available", lambda count=count: count > 0)
            monkeypatch.setattr(module, "device_count", lambda count=count: count)
            if kind != "mps":  # which has no such function
                choose = lambda index, kind=kind: current.append(f"{kind}:{index}")  # noqa: E731
                monkeypatch.setattr(module, "set_device", choose)
        doubles = SimpleNamespace(has_fp64=False)
        monkeypatch.setattr(torch.xpu, "get_device_properties", lambda device: doubles)
        return current

    return pretend


@pytest.mark.parametrize(
    ("name", "counts", "expected"),
    [
        ("auto", {}, "cpu"),
        ("cpu", {"cuda": 2}, "cpu"),
        ("auto", {"cuda": 2, "xpu": 1}, "cuda:0"),
        ("auto", {"xpu": 1, "mps": 1}, "xpu:0"),
        ("auto", {"mps": 1}, "mps:0"),
        ("cuda", {"cuda": 1}, "cuda:0"),
        ("cuda:1", {"cuda": 2}, "cuda:1"),
        ("xpu", {"cuda": 1, "xpu": 1}, "xpu:0"),
        ("xpu:2", {"xpu": 3}, "xpu:2"),
        ("mps", {"mps": 1}, "mps:0"),
    ],
)
def test_names(machine, name: str, counts: dict[str, int], expected: str):
    current = machine(**counts)
    assert resolve_device(name) == torch.device(expected)
    assert current == ([] if expected in ("cpu", "mps:0") else [expected])


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_every_process_has_its_gpu(machine, monkeypatch: pytest.MonkeyPatch, kind: str):
    current = machine(**{kind: 2})
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_device("auto") == resolve_device(kind) == torch.device(kind, 1)
    assert current == [f"{kind}:1"] * 2
    with pytest.raises(UserError, match=f"'{kind}:0' names one GPU, but torchrun started 2 .*={kind}$"):
        resolve_device(f"{kind}:0")


def test_apples_gpu_is_for_one_process(machine, monkeypatch: pytest.MonkeyPatch):
    machine(mps=1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(UserError, match="'mps' is for one process, .* torchrun started 2; start one, or use"):
        resolve_device("mps")


@pytest.mark.parametrize(("name", "local_rank", "count"), [("cuda", "0", 0), ("auto", "2", 2)])
def test_too_few_gpus(machine, monkeypatch: pytest.MonkeyPatch, name: str, local_rank: str, count: int):
    current = machine(cuda=count)
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    with pytest.raises(UserError) as refused:
        resolve_device(name)
    text = str(refused.value)
    assert f"'{name}' needs a GPU for process {local_rank} of this machine, but torch finds {count}" in text
    assert text.endswith("use run.device=cpu") and current == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda:2", "run.device 'cuda:2' needs GPU number 2, but torch finds 2 of cuda; name one from cuda:0 "
                   "to cuda:1, or use run.device=cpu"),
        ("xpu:0", "run.device 'xpu:0' needs GPU number 0, but torch finds 0 of xpu; use run.device=cpu"),
        ("mps", "run.device 'mps' needs a GPU for process 0 of this machine, but torch finds 0 of mps; use "
                "run.device=cpu"),
    ],
)  # fmt: skip
def test_what_is_not_there(machine, name: str, message: str):
    machine(cuda=2)
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("name", "closest"),
    [("cude", "cuda"), ("gpu", "cuda"), ("GPU:0", "cuda:0"), ("CUDA", "cuda"), ("cuda:", "cuda:0"),
     ("mps:0", "mps"), ("cuda:-1", "cuda:0"), ("cuda:one", "cuda:0"), ("cpu:0", "cpu"), ("xpus", "xpu")],
)  # fmt: skip
def test_unknown_name(name: str, closest: str):
    with pytest.raises(UserError, match=f"run.device '{name}' is unknown; did you mean '{closest}'"):
        resolve_device(name)
    with pytest.raises(UserError, match=f"command line:\n  run: .*'{name}' is unknown; .*'{closest}'"):
        parse_config(Configuration, {}, [f"run.device={name!r}"], source="command line")
    assert parse_config(Configuration, {}, ["run.device=xpu:3"], source="").run.device == "xpu:3"


def test_float64_is_not_everywhere(machine):
    machine(mps=1, xpu=1)
    assert resolve_device("auto", float64=True) == torch.device("cpu")
    for name in ("mps", "xpu"):
        with pytest.raises(UserError, match=f"in float64, which {name}:0 lacks; use run.device=cpu"):
            resolve_device(name, float64=True)
    assert has_float64(torch.device("cpu")) and has_float64(torch.device("cuda"))


def test_it_says_where_nobody_was(machine, caplog: pytest.LogCaptureFixture):
    devices._warn_untried.cache_clear()
    machine(mps=1, cuda=1)
    with caplog.at_level(logging.WARNING):
        resolve_device("cuda")
        assert caplog.text == ""
        resolve_device("mps")
        resolve_device("mps")
    assert caplog.text.count("nobody has run this toolkit on mps:0 yet") == 1


@pytest.mark.parametrize(("kind", "waits"), [("mps", True), ("cpu", True), ("cuda", False), ("xpu", False)])
def test_copies_wait_where_their_order_is_not_kept(kind: str, waits: bool):
    asked = []

    class Watched(torch.Tensor):
        def to(self, *arguments, **keywords):
            asked.append((arguments, keywords))
            return torch.ones(2)

    send(torch.ones(2).as_subclass(Watched), kind)
    assert asked == [((kind,), {"non_blocking": not waits})]


def test_what_is_on_the_host_is_there_at_once():
    values = [torch.ones(2), torch.arange(3)]
    copies, wait = fetch(iter(values))
    wait()
    assert [copy.tolist() for copy in copies] == [[1, 1], [0, 1, 2]] and fetch([])[0] == []


def test_convolutions_lie_in_torchs_usual_order_on_apples_gpus():
    layouts = [convolution_layout(torch.device(kind), True) for kind in ("cpu", "cuda", "xpu", "mps")]
    assert layouts == [torch.channels_last] * 3 + [torch.contiguous_format]
    assert convolution_layout(torch.device("cuda"), False) is torch.contiguous_format


def test_kernels_are_asked_for():
    assert has_kernel("torchvision::roi_align", torch.device("cpu"))
    assert not has_kernel("torchvision::roi_align", torch.device("privateuseone"))


@pytest.mark.gpu
def test_the_gpu_is_found():
    assert resolve_device("auto") == torch.device("cuda", 0) == resolve_device("cuda")


def test_a_module_is_moved():
    module = nn.Linear(1, 1)
    assert on_device(module, None, "cpu") is module
    assert on_device(module, "meta", "cpu").weight.device.type == "meta"
    # Copies for inference on a CPU are in channels_last, which is for CPUs alone.
    last = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    assert not on_device(last, "cpu", "cpu").weight.is_contiguous()
    assert on_device(last, "meta", "cpu").weight.is_contiguous()
    with pytest.raises(
        UserError, match=r"^device nowhere cannot be used \(.*\); leave it out, or give 'cpu'$"
    ):
        on_device(module, "nowhere", "cpu")
