"""What stands in a weight file beside its tensors, and that no bit of the file can change unseen."""

import hashlib
import json
import math
import random
import struct
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from backbones import InputSpec, OptionError, WeightsError, WeightsHeader, read_weights, save_weights
from backbones.weights.weight_files import read_header
from backbones.weights.weights_header import metadata_of

SPEC = InputSpec(mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
HEADER = WeightsHeader(
    model="resnet18",
    options={"num_classes": 2},
    input_spec=SPEC,
    score={"top1_error": 0.25, "top5_error": None},
    config={"optim": {"lr": 0.1}},
    classes=["cat", "dög"],
)
OURS, DIGESTS = "residual_backbones", "residual_backbones_sha256"


def tensors() -> dict[str, torch.Tensor]:
    return {
        "fc.weight": torch.tensor([[1.5, -2.0]]),
        "fc.bias": torch.tensor([0.25], dtype=torch.bfloat16),
        "n": torch.tensor(7),
        "none": torch.empty(0, 3),
    }


@pytest.fixture
def path(tmp_path) -> Path:
    save_weights(tmp_path / "x.safetensors", tensors(), HEADER)
    return tmp_path / "x.safetensors"


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_digests_by_hand():
    found = json.loads(metadata_of(HEADER, tensors())[DIGESTS])
    # In the order of names: 0.25 in bfloat16 is 3e80, then 1.5 and -2, then the counter.
    content = b"\x80\x3e" + struct.pack("<2f", 1.5, -2.0) + struct.pack("<q", 7)
    assert found["tensors"] == hashlib.sha256(content).hexdigest()
    forms = [["fc.bias", "torch.bfloat16", [1]], ["fc.weight", "torch.float32", [1, 2]]]
    forms += [["n", "torch.int64", []], ["none", "torch.float32", [0, 3]]]
    text = json.dumps([json.dumps(asdict(HEADER)), forms])
    assert found["header"] == hashlib.sha256(text.encode()).hexdigest()


def test_earlier_releases_read_these_files(path):
    values = json.loads(metadata(path)[OURS])  # all that they look for
    assert values["version"] == 1 and values.keys() == asdict(HEADER).keys()


def test_files_of_earlier_releases_are_read(tmp_path):
    text = metadata_of(HEADER, tensors())[OURS]
    for beside in ({}, {"format": "pt"}):
        save_file(tensors(), tmp_path / "x.safetensors", metadata={OURS: text, **beside})
        assert read_weights(tmp_path / "x.safetensors")[1] == HEADER
        assert read_header(tmp_path / "x.safetensors") == HEADER


def test_no_flipped_bit_passes(path):
    content = path.read_bytes()
    bits = random.Random(0).sample(range(8 * len(content)), 400)
    for bit in bits:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert "is broken" in refusal(path), f"bit {bit}"
    path.write_bytes(content)
    assert read_weights(path)[1] == HEADER


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fc.weight": torch.tensor([[1.5, -2.5]])}, "its tensors are not those that were written"),
        ({"fc.weight": torch.tensor([[1.5], [-2.0]])}, "its header is not the one that was written"),
        ({"fc.bias": torch.tensor([0.25]).half()}, "its header is not the one that was written"),
        ({"more": torch.zeros(1)}, "its header is not the one that was written"),
    ],
)
def test_changed_tensors(path, change, reason):
    save_file(load_file(path) | change, path, metadata=metadata(path))
    assert f"is broken or was changed: {reason}; copy or download it again, or, if it was" in refusal(path)
    if "header" in reason:
        with pytest.raises(WeightsError, match=reason):
            read_header(path)
    else:
        assert read_header(path) == HEADER  # which reads no values


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({OURS: None}, "its header is not the one that was written"),
        ({OURS: None, "residual_backboneS": "{}"}, "'residual_backbones_sha256'] is not what was written"),
        ({DIGESTS: None, "residual_backbones_sha257": "{}"}, "sha257'] is not what was written"),
        ({"somebody": "else"}, "'somebody'] is not what was written"),
        ({DIGESTS: "{}"}, f"its {DIGESTS} is unreadable"),
        ({DIGESTS: "[]"}, f"its {DIGESTS} is unreadable"),
        ({DIGESTS: '{"header": "", "tensors": ""}'}, "its header is not the one that was written"),
    ],
)
def test_changed_metadata(path, change, reason):
    entries = {name: text for name, text in (metadata(path) | change).items() if text is not None}
    save_file(load_file(path), path, metadata=entries)
    assert reason in refusal(path)


def test_format_of_safetensors_may_stand_beside(path):
    save_file(load_file(path), path, metadata=metadata(path) | {"format": "pt"})
    assert read_weights(path)[1] == HEADER


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "header of version 2, this release reads 1; use the release that wrote it"),
        ({"version": None}, "header of version None"),
        ({"input_spec": {"mean": [0, 0, 0], "std": [1, 1, 1], "order": "RBG"}}, "did you mean 'RGB'"),
        ({"input_spec": {"mean": [0, 0, 0], "std": [1, math.nan, 1]}}, "std above 0; got"),
        ({"input_spec": {"mean": ["0", "0", "0"], "std": [1, 1, 1]}}, "need three numbers"),
        ({"input_spec": None}, "broken header"),
        ({"colour": "green"}, "broken header .*'colour'"),
        ({"options": []}, r"broken header \(options must be a mapping, got \[\]\); copy or download"),
        ({"norm_eps": 0.0}, "norm_eps must be a number above 0, got 0.0"),
        ({"norm_eps": math.nan}, "norm_eps must be a number above 0, got nan"),
        ({"norm_eps": "1e-5"}, "norm_eps must be a number above 0, got '1e-5'"),
        ({"score": {"top1": "76"}}, "score 'top1' must be a number, got '76'"),
        ({"score": 76.0}, "score must be a mapping"),
        ({"classes": "cat"}, "classes must be a list of text, got 'cat'"),
        ({"classes": ["cat", 2]}, "classes must be a list of text, got 2"),
        ({"model": 50}, "model must be text, got 50"),
        ({"dataset": None}, "dataset must be text, got None"),
        ({"config": []}, "config must be a mapping"),
        ({"options": {"num_classes": "10"}}, "num_classes must be a number above 0, got '10'"),
        ({"options": {"num_classes": 0}}, "num_classes must be a number above 0, got 0"),
        ({"options": {"category_ids": [1, "2"]}}, "category_ids must be whole numbers"),
        ({"options": {"category_ids": [1]}, "classes": ["a", "b"]}, "must be 2, one for a class, got"),
        ({"options": {"num_classes": 3}, "classes": ["a", "b"]}, "num_classes must be 2, as there are"),
    ],
)
def test_broken_headers(tmp_path, change, message):
    header = {"model": "x", "options": {}, "input_spec": {"mean": [0, 0, 0], "std": [1, 1, 1]}, "version": 1}
    write_header(tmp_path / "x.safetensors", json.dumps({**header, **change}))
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_header_that_is_no_mapping(tmp_path, text):
    write_header(tmp_path / "x.safetensors", text)
    assert "has a broken header" in refusal(tmp_path / "x.safetensors")


def test_impossible_headers_cannot_be_made():
    with pytest.raises(OptionError, match="norm_eps must be a number above 0, got -1"):
        WeightsHeader("resnet18", {}, SPEC, norm_eps=-1)
    with pytest.raises(OptionError, match="input_spec must be an InputSpec, got None"):
        WeightsHeader("resnet18", {}, None)


def write_header(path: Path, text: str) -> None:
    save_file(tensors(), path, metadata={OURS: text})
