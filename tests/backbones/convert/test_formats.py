"""Round trips through every format to the last bit; formats guessed; what files hold beside tensors."""

import pickle

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from backbones import (
    IMAGENET_INPUT,
    WeightsError,
    read_weights,
)
from backbones.convert import convert
from backbones.convert.foreign_weights import MSRA_INPUT
from backbones.convert.formats import read_pickled_arrays, write_pickled_arrays

ROUND_TRIPS = [
    ("torchvision", "resnet18", "x.pth", {}, {"source_format": "torchvision"}),
    ("torchvision", "resnext50_32x4d", "x.safetensors", {}, {"source_format": "torchvision"}),
    ("timm", "resnet18", "x.pth", {}, {"source_format": "timm", "source_input": "imagenet"}),
    ("timm", "preact_resnet50", "x.safetensors", {}, {"source_input": "imagenet"}),
    ("detectron2", "resnet18", "x.pkl", {}, {}),
    ("detectron2", "resnet50", "x.pth", {"stride_on": "1x1", "spec": MSRA_INPUT}, {}),
    (
        *("caffe", "resnet50", "x.caffemodel"),
        {"stride_on": "1x1", "stem_pool": "ceil", "spec": MSRA_INPUT},
        {"mean": "x_mean.binaryproto"},
    ),
    ("cifar", "resnet20_cifar", "x.th", {}, {}),
    ("cifar", "resnet20_cifar", "x.pth", {"shortcut": "B"}, {}),
]


@pytest.mark.parametrize(("form", "name", "file", "options", "reading"), ROUND_TRIPS)
def test_round_trip_to_the_last_bit(tmp_path, form, name, file, options, reading, ours):
    path, _ = ours(tmp_path, name, **options)
    convert(path, tmp_path / file, target_format=form)
    if "mean" in reading:
        reading = {"mean": tmp_path / reading["mean"]}
    back = tmp_path / "back.safetensors"
    convert(tmp_path / file, back, **reading)
    (before, header), (after, header_back) = read_weights(path), read_weights(back)
    kept = {key for key in before if form not in ("detectron2", "caffe") or "num_batches" not in key}
    assert after.keys() == kept and len(kept) > 100
    for key in kept:
        assert after[key].dtype == before[key].dtype and torch.equal(after[key], before[key]), key
    if form in ("detectron2", "cifar"):
        assert header_back == header  # these files have room for it
    assert header_back.input_spec == header.input_spec
    assert header_back.model == name and header_back.options == header.options


def test_format_is_guessed_only_where_it_is_certain(small, cifar, tmp_path, refusal):
    out = tmp_path / "out.safetensors"
    assert "its names do not tell its format" in refusal(small, out)
    for form, file in (("cifar", "x.th"), ("ours", "x.safetensors")):
        convert(cifar, tmp_path / file, target_format=form)
        convert(tmp_path / file, out, overwrite=True)
        assert read_weights(out)[1].model == "resnet20_cifar"
    save_file({"a": torch.zeros(1)}, tmp_path / "theirs.safetensors")
    message = refusal(tmp_path / "theirs.safetensors", tmp_path / "x.safetensors", overwrite=True)
    assert message.endswith("say it with --from")
    assert "expected .safetensors, .pth" in refusal(tmp_path / "x.npz", tmp_path / "y.safetensors")


def test_arrays_of_detectron2s_own_converter_say_what_they_are(tmp_path, small):
    from backbones.convert.detectron2_format import from_ours

    content = {
        "model": from_ours(torch.load(small)),
        "__author__": "torchvision",
        "matching_heuristics": True,
    }
    content["model"] = {
        name.replace("linear.", "stem.fc."): value for name, value in content["model"].items()
    }
    write_pickled_arrays(tmp_path / "r18.pkl", content)
    convert(tmp_path / "r18.pkl", tmp_path / "r18.safetensors")
    assert read_weights(tmp_path / "r18.safetensors")[1].input_spec == IMAGENET_INPUT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([np.ones(1)], "expected arrays by name, found list"),
        ({"model": {}}, "expected tensors by name, found nothing"),
        ({"model": {"stem.conv1.weight": np.ones(1), "lr": 0.1}}, "expected tensors by name, found lr"),
    ],
)
def test_pickles_without_named_arrays(tmp_path, content, message, refusal):
    import pickle

    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
    assert message in refusal(tmp_path / "x.pkl", tmp_path / "y.safetensors")


def test_what_is_written_is_plain_numpy(tmp_path):
    tensors = {"a": torch.randn(2, 3).t(), "b": torch.arange(3), "c": torch.tensor(1.5)}
    write_pickled_arrays(tmp_path / "x.pkl", {"model": tensors, "__author__": "us"})
    content = pickle.loads((tmp_path / "x.pkl").read_bytes())
    assert content["__author__"] == "us"
    assert all(np.array_equal(content["model"][name], tensor.numpy()) for name, tensor in tensors.items())
    with pytest.raises(WeightsError, match="NumPy has no torch.bfloat16; convert the weights to float32"):
        write_pickled_arrays(tmp_path / "y.pkl", {"a": torch.zeros(1, dtype=torch.bfloat16)})


def test_broken_pickles_name_the_file_and_the_remedy(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"w": np.ones(500)})[:300])
    expected = "x.pkl is broken, or holds more than arrays .*; copy or download it again"
    with pytest.raises(WeightsError, match=expected):
        read_pickled_arrays(tmp_path / "x.pkl")


def test_a_value_changed_in_a_pickle_of_ours_is_found(tmp_path, write, refusal):
    ours, theirs, back = (tmp_path / name for name in ("x.safetensors", "x.pkl", "y.safetensors"))
    convert(write(ours, "resnet18", num_classes=2), theirs, target_format="detectron2")
    content = pickle.loads(theirs.read_bytes())
    del content["residual_backbones_sha256"]  # as earlier releases wrote it
    theirs.write_bytes(pickle.dumps(content))
    convert(theirs, back)
    convert(ours, theirs, target_format="detectron2", overwrite=True)
    content = pickle.loads(theirs.read_bytes())
    content["model"]["stem.conv1.weight"][0, 0, 0, 0] += 1
    theirs.write_bytes(pickle.dumps(content))
    assert "its tensors are not those that were written" in refusal(theirs, back, overwrite=True)


def test_values_that_no_network_can_use_are_named_as_in_the_file(tmp_path, small, changed, refusal):
    from backbones.convert.detectron2_format import from_ours

    out = tmp_path / "out.safetensors"
    bad = changed(small, tmp_path / "bad.pth", **{"bn1.running_var": torch.full((64,), -1.0)})
    assert "in bn1.running_var, 64 of 64 variances are negative" in refusal(
        bad, out, source_format="torchvision"
    )
    state = torch.load(small, weights_only=True)
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    write_pickled_arrays(tmp_path / "bad.pkl", {"model": from_ours(state)})
    assert "in res2.0.conv1.weight, 1 of 36864 values are NaN" in refusal(tmp_path / "bad.pkl", out)


def test_a_stopped_call_leaves_no_mean_of_another_network(tmp_path, write, monkeypatch):
    source = write(tmp_path / "x.safetensors", "resnet50", spec=MSRA_INPUT, stride_on="1x1", num_classes=2)
    target, mean = tmp_path / "x.caffemodel", tmp_path / "x_mean.binaryproto"
    convert(source, target, target_format="caffe", stem_pool="ceil")
    assert mean.is_file()

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("backbones.convert.formats.write_mean", stop)
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, target_format="caffe", stem_pool="ceil", overwrite=True)
    assert target.is_file() and not mean.exists()


def test_a_value_changed_in_safetensors_of_others_form_is_found(tmp_path, small):
    target = tmp_path / "x.safetensors"
    target_format = {"source_format": "torchvision", "target_format": "torchvision"}
    convert(small, target, **target_format)
    state, header = read_weights(target)
    assert header is None
    with safe_open(target, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt"  # as torchvision's own readers and others want it
    state["fc.bias"][0] += 1
    save_file(state, target, metadata=metadata)
    with pytest.raises(WeightsError, match="its tensors are not those that were written"):
        read_weights(target)
