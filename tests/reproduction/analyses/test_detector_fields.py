"""Receptive fields of detectors beside their anchors: kinds, weights, pictures, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backbones import IMAGENET_INPUT, WeightsHeader, create_model, save_weights
from detection.build import assemble, build_detector, detector_header
from detection.config import DetectionConfig
from foundation.errors import UserError
from reproduction.analyses.detector_fields import RpnMaps, has_detector
from reproduction.analyze import analyze
from training.config import dump_config, load_config

SMALL = [
    *("backbone.name=resnet18", "rpn.channels=8", "backbone.norm=batch", "backbone.frozen_stages=0"),
    *("data.kind=coco", "data.train=train", "data.val=val", "data.short_side=64", "data.max_side=96"),
]
KINDS = {
    "c4": ["rpn.anchor_sizes=[16,32]", "rpn.anchor_ratios=[1]"],
    "dc5": ["detector.kind=dc5"],
    "fpn": ["detector.kind=fpn", "detector.pyramid_channels=8"],
}
ONCE = ["receptive.pictures=1", "receptive.side=128", "run.device=cpu"]


def write_config(folder: Path, name: str, *changes: str) -> Path:
    config = load_config(DetectionConfig, None, [*SMALL, *changes])
    file = folder / f"{name}.yaml"
    file.write_text(dump_config(config))
    return file


def test_of_each_kind_the_rpns_field_stands_beside_the_maps_and_the_anchors(tmp_path: Path):
    files = [write_config(tmp_path, name, *changes) for name, changes in KINDS.items()]
    result = analyze("receptive", [], tmp_path / "out", ONCE, files)
    found = {label: {row["map"]: row for row in of["fields"]} for label, of in result["networks"].items()}
    assert {of["weights"] for of in result["networks"].values()} == {"random"}
    # ResNet-18's res4 sees 211 pixels and res5 435; dilated res5 as much at stride 16; the RPN adds twice
    # the stride. A pyramid's levels see res5, with 3x3 convolutions on P5, or two cells of res5 from P4 down.
    assert list(found["c4"]) == ["res4"] and list(found["fpn"]) == ["P2", "P3", "P4", "P5", "P6"]
    sizes = {
        ("c4", "res4"): (211, 211 + 32, [16, 32]),
        ("dc5", "res5"): (435, 435 + 32, [128, 256, 512]),
        ("fpn", "P5"): (435 + 64, 435 + 64 + 64, [256]),
        ("fpn", "P6"): (435 + 64, 435 + 64 + 128, [512]),
    }
    for (label, name), (own, with_rpn, anchors) in sizes.items():
        row = found[label][name]
        assert (row["of_the_map"], row["theoretical"], row["anchors"]) == (own, with_rpn, anchors)
        assert 0 < row["effective"] <= 128
    assert (tmp_path / "out" / "receptive.png").is_file()
    assert result["command"].startswith("python tools/analyze.py receptive --config ")


def test_the_picture_is_as_large_as_the_largest_field_needs(tmp_path: Path):
    file = write_config(tmp_path, "c4", *KINDS["c4"])
    result = analyze("receptive", [], tmp_path / "out", ["receptive.pictures=1", "run.device=cpu"], [file])
    # 243 pixels and two cells of 16 are 275: the next multiple of two cells is 288.
    assert result["networks"]["c4"]["seen"] == "288 x 288 pixels"
    again = analyze("receptive", [], tmp_path / "again", ["receptive.pictures=1", "run.device=cpu"], [file])
    assert again["networks"] == result["networks"]


def test_anchors_are_those_of_the_detector():
    config = load_config(DetectionConfig, None, [*SMALL, *KINDS["fpn"]])
    maps = RpnMaps(assemble(config, 1, weights=None).eval())
    assert maps.strides == {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}
    assert maps.anchor_sizes["P3"] == [64.0]
    # Heights over widths of 1/2, 1 and 2 at an area of 64².
    assert maps.anchors("P3").tolist() == [[-45, -23, 45, 23], [-32, -32, 32, 32], [-23, -45, 23, 45]]
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert [tuple(values.shape[1:]) for values in maps(images).values()][:2] == [(8, 16, 16), (8, 8, 8)]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A detector's weights whose configuration names two validation pictures."""
    entries = []
    for number in (1, 2):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        entries.append({"id": number, "file_name": f"{number}.png", "height": 60, "width": 80})
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}
    content = {"images": entries, "annotations": [box], "categories": [{"id": 1, "name": "thing"}]}
    (tmp_path / "val.json").write_text(json.dumps(content))
    data = [f"data.root={tmp_path}", "data.val=val.json", "data.train=val.json"]
    config = load_config(DetectionConfig, None, [*SMALL, *KINDS["c4"], *data])
    torch.manual_seed(0)
    model, file = build_detector(config, 1), tmp_path / "run" / "last.safetensors"
    file.parent.mkdir()
    save_weights(
        file, model.state_dict(), detector_header(model, config, ["thing"], {"AP": 0.5}, category_ids=[1])
    )
    return file


def test_a_trained_detector_sees_its_validation_pictures(trained: Path, tmp_path: Path):
    assert has_detector([trained])
    out = tmp_path / "out"
    keys = ["receptive.side=128", "run.device=cpu"]
    result = analyze("receptive", [trained], out, keys)
    (label,) = result["networks"]
    assert label == "run/last" and result["networks"][label]["weights"] == str(trained)
    assert result["networks"][label]["pictures"] == 2  # all that there are
    noise = analyze("receptive", [trained], tmp_path / "noise", [*keys, "receptive.noise=true"])
    assert noise["networks"][label]["pictures"] == 20
    assert noise["networks"][label]["fields"] != result["networks"][label]["fields"]


def test_classifiers_are_looked_at_in_another_command(trained: Path, tmp_path: Path):
    network = create_model("resnet8_cifar")
    file, header = tmp_path / "net.safetensors", WeightsHeader(network.name, network.options, IMAGENET_INPUT)
    save_weights(file, network.state_dict(), header)
    assert not has_detector([file]) and not has_detector([])
    with pytest.raises(
        UserError, match=r"last\.safetensors is a detector's and .*net\.safetensors is not; look"
    ):
        analyze("receptive", [file, trained], tmp_path / "out", [])


def test_what_is_refused(trained: Path, tmp_path: Path):
    file = write_config(tmp_path, "c4", *KINDS["c4"])

    def message(*arguments) -> str:
        with pytest.raises(UserError) as caught:
            analyze(*arguments)
        return str(caught.value)

    out = tmp_path / "none"
    assert "--config is of tools/analyze.py receptive" in message("lesion", [], out, [], [file])
    assert "two detectors would be called c4" in message("receptive", [], out, ONCE, [file, file])
    assert "no configuration file at" in message("receptive", [], out, ONCE, [tmp_path / "no.yaml"])
    assert "unknown key" in message("receptive", [], out, [*ONCE, "detector.kindd=c4"], [file])
    assert "pictures must be positive" in message("receptive", [], out, ["receptive.pictures=0"], [file])
    assert "no end; give a number" in message(
        "receptive", [], out, ["receptive.pictures=null", "receptive.side=64"], [file]
    )
    assert "lesion" in message("receptive", [trained], out, [*ONCE, "lesion.draws=3"])
    assert not list(out.glob("*.npz"))
