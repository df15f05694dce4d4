"""Which device a name means, with and without GPUs."""

import pytest
import torch
from torch import nn

from foundation.errors import UserError
from training.devices import on_device, resolve_device


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    """Pretends so many GPUs; gives the list of those made torch's current one."""
    current: list[int] = []

    def pretend(count: int) -> list[int]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", current.append)
        return current

    return pretend


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [("auto", 0, "cpu"), ("cpu", 0, "cpu"), ("cpu", 2, "cpu"), ("auto", 2, "cuda:0"), ("cuda", 1, "cuda:0")],
)
def test_names(gpus, name: str, count: int, expected: str):
    current = gpus(count)
    assert resolve_device(name) == torch.device(expected)
    assert current == ([] if expected == "cpu" else [0])


def test_every_process_has_its_gpu(gpus, monkeypatch: pytest.MonkeyPatch):
    current = gpus(2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_device("auto") == torch.device("cuda", 1)
    assert current == [1]


@pytest.mark.parametrize(("name", "local_rank", "count"), [("cuda", "0", 0), ("auto", "2", 2)])
def test_too_few_gpus(gpus, monkeypatch: pytest.MonkeyPatch, name: str, local_rank: str, count: int):
    current = gpus(count)
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    with pytest.raises(UserError) as refused:
        resolve_device(name)
    text = str(refused.value)
    assert f"'{name}' needs a GPU for process {local_rank} of this machine, but torch finds {count}" in text
    assert text.endswith("use run.device=cpu") and current == []


def test_unknown_name():
    with pytest.raises(UserError, match="run.device 'cude' is unknown; did you mean 'cuda'"):
        resolve_device("cude")


@pytest.mark.gpu
def test_the_gpu_is_found():
    assert resolve_device("auto") == torch.device("cuda", 0) == resolve_device("cuda")


def test_a_module_is_moved():
    module = nn.Linear(1, 1)
    assert on_device(module, None, "cpu") is module
    assert on_device(module, "meta", "cpu").weight.device.type == "meta"
    with pytest.raises(
        UserError, match=r"^device nowhere cannot be used \(.*\); leave it out, or give 'cpu'$"
    ):
        on_device(module, "nowhere", "cpu")
