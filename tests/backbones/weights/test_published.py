"""Published weights: the table beside torchvision's and timm's own, and names that become files."""

import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torchvision.models import get_model, get_model_weights

from backbones import create_backbone, create_model, load_network, read_weights
from backbones.convert.conversion import PICTURES
from backbones.convert.detectron2_format import from_ours
from backbones.convert.foreign_weights import MSRA_INPUT
from backbones.networks.blocks import has_bottlenecks
from backbones.spec import InputSpec
from backbones.weights import published
from backbones.weights.published import (
    find_weights,
    list_weights,
    published_name,
    published_weights,
    stated_header,
)
from backbones.weights.timm_catalogue import find_timm_weights
from backbones.weights.weight_files import read_header
from foundation.errors import WeightsError

ROWS = published_weights()


@pytest.mark.parametrize("name", list_weights("torchvision/*"))
def test_the_table_says_what_torchvision_says(name: str):
    row = ROWS[name]
    network, tag = name.removeprefix("torchvision/").split(".")
    theirs = get_model_weights(network)[tag]
    assert row.url == theirs.url and row.url.endswith(f"-{row.digest}.pth") and len(row.digest) == 8
    assert row.mib == theirs.meta["_file_size"]
    scores = theirs.meta["_metrics"]["ImageNet-1K"]
    assert (row.top1, row.top5) == (scores["acc@1"], scores["acc@5"])
    pictures = theirs.transforms()
    assert ([row.crop], [row.resize]) == (pictures.crop_size, pictures.resize_size)
    spec = PICTURES[row.input]
    assert (spec.mean, spec.std) == (tuple(pictures.mean), tuple(pictures.std))


def test_all_of_torchvision_that_are_ours_are_there():
    ours = {row.network for row in ROWS.values()}
    names = {f"torchvision/{network}.{tag.name}" for network in ours for tag in get_model_weights(network)}
    assert names - set(list_weights("torchvision/*")) == {
        "torchvision/vgg16.IMAGENET1K_FEATURES"
    }  # no classifier


def test_every_row_is_of_a_network_that_can_be_built():
    for name in {row.network for row in ROWS.values()}:
        with torch.device("meta"):
            network = create_model(name)
        strides = {bool(row.stride_on) for row in ROWS.values() if row.network == name}
        assert strides == {has_bottlenecks(network)}
    for row in ROWS.values():
        assert row.input in PICTURES and 60 < row.top1 < row.top5 < 100 and row.crop <= row.resize


@pytest.mark.parametrize(
    "weights", ["runs/a/best.safetensors", "timm/mine.safetensors", "other/net.tag", "net"]
)
def test_paths_stay_paths(weights: str):
    assert published_name(weights) is None and str(find_weights(weights)) == weights


def test_an_existing_file_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "msra").mkdir()
    assert published_name("msra/resnet50") == "msra/resnet50"
    (tmp_path / "msra" / "resnet50").write_text("")
    assert published_name("msra/resnet50") is None


def test_a_name_of_torchvision_becomes_a_file_of_ours(publisher, monkeypatch, tmp_path):
    name = "torchvision/resnet18.IMAGENET1K_V1"
    torch.save(get_model("resnet18").state_dict(), tmp_path / "r18.pth")
    publish(monkeypatch, publisher, name, (tmp_path / "r18.pth").read_bytes())
    state, header = read_weights(name)
    assert header.model == "resnet18" and header.dataset == "ImageNet" and header.classes == []
    assert header.score == {"top1": 69.758, "top5": 89.078}
    assert header.config == {"data": {"kind": "folder", "image_size": 224, "resize": 256}}
    theirs = torch.load(tmp_path / "r18.pth", weights_only=True)
    assert state.keys() == theirs.keys() and all(torch.equal(state[key], theirs[key]) for key in theirs)
    path = find_weights(name)
    assert path == publisher.cache / "weights/torchvision/resnet18.IMAGENET1K_V1.v1.safetensors"
    publisher.files.clear()  # nothing is asked for again
    network = load_network(name)
    assert network.name == "resnet18" and read_header(path) == header


def test_a_line_of_the_table_is_all_that_new_weights_need(publisher, monkeypatch, tmp_path):
    name, (columns, first, *_) = "torchvision/resnet18.OURS", published.TABLE.read_text().splitlines()
    torch.save(get_model("resnet18").state_dict(), tmp_path / "r18.pth")
    publisher.files["/r18.pth"] = (tmp_path / "r18.pth").read_bytes()
    values = dict(zip(columns.split("\t"), first.split("\t"), strict=True))
    values |= {"name": name, "url": f"{publisher.url}/r18.pth", "digest": ""}
    (tmp_path / "table.tsv").write_text("\n".join([columns, "\t".join(values.values())]))
    monkeypatch.setattr(published, "TABLE", tmp_path / "table.tsv")
    monkeypatch.setattr(published, "published_weights", published.published_weights.__wrapped__)
    assert list_weights("*resnet18*") == [name]
    assert load_network(name).name == "resnet18"


def publish(monkeypatch, publisher, name: str, content: bytes, digest: str = "") -> None:
    """Lets a name of the table stand for a file on the test's server."""
    url = f"{publisher.url}/{name}.{ROWS[name].url.rsplit('.')[-1]}"
    publisher.files[url.removeprefix(publisher.url)] = content
    row = replace(ROWS[name], url=url, digest=digest)
    monkeypatch.setattr(published, "published_weights", lambda: ROWS | {name: row})


def test_unknown_names_say_the_closest():
    with pytest.raises(WeightsError, match=re.escape("did you mean 'torchvision/resnet50.IMAGENET1K_V2'?")):
        find_weights("torchvision/resnet50.IMAGENET_V2")
    with pytest.raises(WeightsError, match=re.escape("did you mean 'msra/resnet101'?")):
        read_weights("msra/resnet10l")


def test_a_wrong_stride_cannot_happen_by_name(publisher, monkeypatch, tmp_path):
    torch.save(get_model("resnet50").state_dict(), tmp_path / "r50.pth")
    name = "torchvision/resnet50.IMAGENET1K_V1"
    publish(monkeypatch, publisher, name, (tmp_path / "r50.pth").read_bytes())
    with pytest.raises(
        WeightsError, match=f"{name} was trained with stride_on='3x3', not '1x1'; give stride_on"
    ):
        create_backbone("resnet50", weights=name, stride_on="1x1")


def test_the_bias_in_msras_file_is_kept(publisher, monkeypatch, tmp_path):
    """Its norms are scale and shift alone: with the bias b of the convolution, s · (x + b) + t."""
    ours = create_model("resnet50", stride_on="1x1").state_dict()
    tensors = {key: value.numpy() for key, value in from_ours(ours).items() if "running" not in key}
    blobs = {caffe2_name(key): value for key, value in tensors.items()}
    blobs["conv1_b"] = np.full(64, 0.5, np.float32)
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({"blobs": blobs}))
    publish(monkeypatch, publisher, "msra/resnet50", (tmp_path / "R-50.pkl").read_bytes())
    net = create_backbone(
        "resnet50", weights="msra/resnet50", stride_on="1x1", norm="frozen", out_features=("stem",)
    )
    assert net.input_spec == MSRA_INPUT
    x = torch.randn(1, 3, 8, 8)
    s, t = (ours[f"bn1.{leaf}"][:, None, None] for leaf in ("weight", "bias"))
    expected = torch.relu(s * (F.conv2d(x, ours["conv1.weight"], stride=2, padding=3) + 0.5) + t)
    torch.testing.assert_close(net(x)["stem"], expected)


def caffe2_name(name: str) -> str:
    """Caffe2's name of what detectron2 calls so."""
    name = re.sub(r"^stem\.conv1", "res_conv1" if "norm" in name else "conv1", name)
    for branch, module in {"1": "shortcut", "2a": "conv1", "2b": "conv2", "2c": "conv3"}.items():
        name = re.sub(rf"^(res\d)\.(\d+)\.{module}\b", rf"\1_\2_branch{branch}", name)
    name = name.replace("linear", "fc1000").replace(".norm.weight", "_bn_s").replace(".norm.bias", "_bn_b")
    return name.replace(".weight", "_w").replace(".bias", "_b")


def test_a_resnet_of_timm_becomes_ours(publisher, monkeypatch):
    state = timm.create_model("resnet18").state_dict()
    publish(monkeypatch, publisher, "timm/resnet18.a1_in1k", save(state))
    network = load_network("timm/resnet18.a1_in1k")
    assert network.name == "resnet18" and torch.equal(network.fc.weight, state["fc.weight"])


def test_a_network_that_stays_timms_keeps_its_names(publisher, monkeypatch):
    model = timm.create_model("tf_efficientnet_b0").state_dict()
    found = find_timm_weights("timm/tf_efficientnet_b0.in1k")
    assert found.url == "https://huggingface.co/timm/tf_efficientnet_b0.in1k/resolve/main/model.safetensors"
    publisher.files["/b0.safetensors"] = save(model)
    there = replace(found, url=f"{publisher.url}/b0.safetensors")
    monkeypatch.setattr(published, "find_timm_weights", lambda name: there)
    state, header = read_weights("timm/tf_efficientnet_b0.in1k")
    assert state.keys() == model.keys()
    assert header.model == "timm/tf_efficientnet_b0" and header.norm_eps == 1e-3
    config = timm.get_pretrained_cfg("tf_efficientnet_b0.in1k")
    assert header.input_spec == InputSpec(mean=config.mean, std=config.std)


def test_what_a_name_states_is_what_its_file_says(publisher, monkeypatch, tmp_path):
    name = "torchvision/resnet18.IMAGENET1K_V1"
    torch.save(get_model("resnet18").state_dict(), tmp_path / "r18.pth")
    publish(monkeypatch, publisher, name, (tmp_path / "r18.pth").read_bytes())
    stated, read = stated_header(name), read_header(name)
    assert stated == replace(read, options={})
    assert ROWS[name].is_cached and not ROWS["msra/resnet50"].is_cached


def test_without_network_one_line_says_where_the_file_goes(publisher, monkeypatch, tmp_path):
    name = "torchvision/resnet18.IMAGENET1K_V1"
    publish(monkeypatch, publisher, name, b"")
    publisher.files.clear()
    with pytest.raises(WeightsError, match="put that file at (.*) by hand$") as failed:
        read_weights(name)
    place = Path(re.search("put that file at (.*) by hand", str(failed.value))[1])
    assert "\n" not in str(failed.value) and publisher.url in str(failed.value)
    torch.save(get_model("resnet18").state_dict(), place)
    assert read_weights(name)[1].model == "resnet18"


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn.COCO_V1", "ssd300_vgg16.COCO_V1"])
def test_a_detector_is_called_one(name: str):
    for read in (find_weights, stated_header):
        with pytest.raises(WeightsError, match=f"^torchvision/{name} is a detector, expected a classifier"):
            read(f"torchvision/{name}")
    with pytest.raises(WeightsError, match="unknown weights 'torchvision/resnet19.V1'"):
        find_weights("torchvision/resnet19.V1")
