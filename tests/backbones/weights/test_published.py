"""Published weights: the table beside torchvision's and timm's own, and names that become files."""

import re
from dataclasses import replace

import pytest
import torch
from torchvision.models import get_model, get_model_weights

from backbones import create_backbone, create_model, load_network, read_weights
from backbones.convert.conversion import PICTURES
from backbones.networks.blocks import has_bottlenecks
from backbones.weights import published
from backbones.weights.published import find_weights, list_weights, published_name, published_weights
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
