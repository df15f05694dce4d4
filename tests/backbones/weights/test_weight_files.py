"""Weight files: what is written is read, and whatever else is refused with its reason and remedy."""

import errno
import math
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backbones import InputSpec, WeightsError, WeightsHeader, read_weights, save_weights
from backbones.weights.weight_files import read_header

CAFFE = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)
HEADER = WeightsHeader(
    model="resnet50",
    options={"shortcut": "B", "stride_on": "1x1", "num_classes": 2},
    input_spec=CAFFE,
    norm_eps=1e-3,
    dataset="imagenet train",
    score={"top1": 76.5},
    config={"optim": {"lr": 0.1}},
    classes=["cat", "dög"],
)


def tensors() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(2, dtype=torch.float16)}


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert caught.value.exit_status == 2
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_round_trip_to_the_last_bit(tmp_path):
    save_weights(tmp_path / "x.safetensors", tensors(), HEADER)
    state, header = read_weights(tmp_path / "x.safetensors")
    assert header == HEADER
    assert state.keys() == tensors().keys()
    for name, value in tensors().items():
        assert state[name].dtype == value.dtype
        assert torch.equal(state[name], value)


def test_equal_weights_are_equal_files(tmp_path):
    # Two entries of metadata can stand in two orders: 20 files alike by chance are one case in 500,000.
    header = replace(HEADER, classes=["häuser ☂", 'quo"te b\\s'])
    files = set()
    for number in range(20):
        save_weights(tmp_path / f"{number}.safetensors", {"w": torch.ones(3), "a": torch.zeros(2)}, header)
        files.add((tmp_path / f"{number}.safetensors").read_bytes())
    (content,) = files
    assert int.from_bytes(content[:8], "little") % 8 == 0
    state, read = read_weights(tmp_path / "0.safetensors")
    assert read == header and state["w"].tolist() == [1, 1, 1] and state["a"].tolist() == [0, 0]


def test_other_memory_layouts_are_written_by_value(tmp_path):
    weight = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    save_weights(tmp_path / "x.safetensors", {"w": weight, "t": torch.arange(6).view(2, 3).t()}, HEADER)
    state, _ = read_weights(str(tmp_path / "x.safetensors"))
    assert torch.equal(state["w"], weight)
    assert state["t"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_file_is_as_readable_as_any_other(tmp_path):
    save_weights(tmp_path / "x.safetensors", tensors(), HEADER)
    (tmp_path / "other").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("x.safetensors", "other")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "x.safetensors"
    save_weights(path, tensors(), HEADER)
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        save_weights(path, {"b": torch.ones(3)}, HEADER)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_have_no_header(tmp_path, suffix, zipped):
    path = tmp_path / f"x{suffix}"
    torch.save(tensors(), path, _use_new_zipfile_serialization=zipped)
    state, header = read_weights(path)
    assert header is None
    assert all(torch.equal(state[name], value) for name, value in tensors().items())


def test_safetensors_of_others_have_no_header(tmp_path):
    save_file(tensors(), tmp_path / "timm.safetensors", metadata={"format": "pt"})
    state, header = read_weights(tmp_path / "timm.safetensors")
    assert header is None and state.keys() == tensors().keys()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; copy or download it again"),
        (b"  \n", "is empty"),
        (b"\n<!DOCTYPE html><html>Access denied</html>", "is a web page, not weights; the download failed"),
        (b"<html><body>404</body></html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"\x00\x01garbage", "copy or download it again"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_no_weights_inside(tmp_path, content, message, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    assert message in refusal(path)


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["safetensors", "pth", "legacy.pth"])
def test_cut_off_files(tmp_path, kind, kept):
    path = tmp_path / f"x.{kind}"
    state = {"w": torch.randn(100, 20)}
    if kind == "safetensors":
        save_weights(path, state, HEADER)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "broken" in refusal(path)


class Intruder:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(tmp_path, zipped):
    torch.save({"w": Intruder(tmp_path / "owned")}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    message = refusal(tmp_path / "x.pth")
    assert f"it holds {os.mkdir.__module__}.mkdir, which was not run" in message
    assert "weights_only" not in message  # torch's advice, which would run it
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"epoch": 3, "state_dict": {}}, "keys epoch, state_dict"),
        ([torch.zeros(1)], "list"),
        ({0: torch.zeros(1)}, "keys 0"),
    ],
)
def test_checkpoint_that_is_no_state_dict(tmp_path, content, found):
    torch.save(content, tmp_path / "x.pth")
    assert refusal(tmp_path / "x.pth").endswith(
        f"found {found}; save the state_dict alone, or convert it with python tools/convert_weights.py FILE "
        "OUT.safetensors --from FORMAT"
    )


def test_whole_module_is_refused_with_the_remedy(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    message = refusal(tmp_path / "module.pth")
    assert "torch.nn.modules.linear.Linear" in message
    assert message.endswith("save the network's state_dict() alone")


def test_no_file_and_other_suffixes(tmp_path):
    assert refusal(tmp_path / "x.pth").startswith(f"no weights at {tmp_path / 'x.pth'}; give the path")
    assert refusal(tmp_path).startswith("no weights at")
    assert refusal(Path("torchvison/resnet18.IMAGENET1K_V1")).endswith(
        "or a published name; did you mean 'torchvision/resnet18.IMAGENET1K_V1'?"
    )
    for name in ("x.pkl", "weights"):
        (tmp_path / name).write_bytes(b"x")
        assert "expected a .safetensors, .pth or .pt file, got" in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("suffix", "source"),
    [("pkl", "detectron2"), ("caffemodel", "caffe"), ("th", "cifar"), ("tar", "FORMAT"), ("ckpt", "FORMAT")],
)
def test_files_of_other_forms_are_told_how_to_convert(tmp_path, suffix, source):
    (tmp_path / f"x.{suffix}").write_bytes(b"x")
    message = refusal(tmp_path / f"x.{suffix}")
    assert message.endswith(
        f"convert it with python tools/convert_weights.py FILE OUT.safetensors --from {source}"
    )


def test_file_without_permission(tmp_path, monkeypatch):
    def refuse(*arguments, **keywords):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be read (Permission denied)" in refusal(tmp_path / "x.pth")


def test_values_that_no_network_can_use(tmp_path):
    state = {"fc.weight": torch.tensor([1.0, math.nan, math.inf])}
    save_weights(tmp_path / "x.safetensors", state, HEADER)
    torch.save(state, tmp_path / "x.pth")
    for name in ("x.safetensors", "x.pth"):
        assert "in fc.weight, 2 of 3 values are NaN or infinite; the training diverged" in refusal(
            tmp_path / name
        )
    assert read_header(tmp_path / "x.safetensors") == HEADER  # which reads no values
