"""Weights in several files are read by their index, and by nothing else."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from backbones import WeightsError, create_model, read_weights
from backbones.convert import convert


def write(folder: Path, shards: list[dict[str, torch.Tensor]], suffix: str = ".safetensors") -> Path:
    """Shards and their index, as Hugging Face names them."""
    names = {}
    for number, tensors in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}{suffix}"
        save = save_file if suffix == ".safetensors" else torch.save
        save(tensors, folder / name)
        names |= dict.fromkeys(tensors, name)
    path = folder / f"model{suffix}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_all_files_together_are_one_network(tmp_path, suffix):
    network = create_model("resnet20_cifar", num_classes=3)
    state = list(network.state_dict().items())
    path = write(tmp_path, [dict(state[:50]), dict(state[50:51]), dict(state[51:])], suffix)
    found, header = read_weights(path)
    assert header is None and found.keys() == dict(state).keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state)
    out = tmp_path / "out.safetensors"
    convert(path, out, source_format="ours", source_input="imagenet", model="resnet20_cifar")
    assert read_weights(out)[0].keys() == dict(state).keys()


def test_one_of_several_names_the_index(tmp_path):
    write(tmp_path, [{"a": torch.zeros(1)}, {"b": torch.zeros(1)}])
    message = refusal(tmp_path / "model-00002-of-00002.safetensors")
    assert message.endswith(
        "is one of 2 files that hold the weights together; give model.safetensors.index.json, the index that "
        "lies beside them"
    )
    save_file({"a": torch.ones(1)}, tmp_path / "model-00001-of-00001.safetensors")
    assert read_weights(tmp_path / "model-00001-of-00001.safetensors")[0]["a"] == 1  # the only one


def test_index_and_files_must_agree(tmp_path):
    path = write(tmp_path, [{"a": torch.zeros(1)}, {"b": torch.zeros(1)}])
    second = tmp_path / "model-00002-of-00002.safetensors"
    save_file({"b": torch.zeros(1), "c": torch.zeros(1)}, second)
    assert f"{second.name} disagree: 'c' stands in the file alone" in refusal(path)
    save_file({"x": torch.zeros(1)}, second)
    assert f"{second.name} disagree: 'b' stands in the index alone" in refusal(path)
    second.unlink()
    assert f"names {second.name}, which is not beside it; copy all 2 files into one folder" in refusal(path)


@pytest.mark.parametrize(
    "shard", ["../secret.safetensors", "/etc/x.safetensors", "a/b.bin", "x.pkl", 3, None]
)
def test_no_file_outside_the_folder_is_opened(tmp_path, shard):
    (tmp_path / "in").mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "secret.safetensors")
    path = tmp_path / "in" / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": shard}}))
    assert f"'a' is said to be in {shard!r}; expected the name of a .safetensors" in refusal(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is broken (Expecting property name"),
        ("[" * 100_000, "is broken (maximum recursion depth"),
        ("[]", "expected an index with a weight_map"),
        ('{"weight_map": {}}', "expected an index with a weight_map"),
    ],
)
def test_broken_indexes(tmp_path, text, message):
    (tmp_path / "x.index.json").write_text(text)
    assert message in refusal(tmp_path / "x.index.json")
