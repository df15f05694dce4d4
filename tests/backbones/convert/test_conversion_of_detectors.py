"""The backbone of a detector of ours, as a file that other trainings start from."""

from pathlib import Path

import pytest
import torch

from backbones import WeightsError, create_backbone, read_weights, save_weights
from backbones.convert import convert
from backbones.convert.foreign_weights import MSRA_INPUT
from backbones.norm import norm_eps, set_norm_eps
from detection.build import build_detector, detector_header
from detection.config import DetectionConfig
from training.config import load_config

KINDS = {
    "c4": ["rpn.anchor_sizes=[16, 32]", "detector.mask=true", "roi.size=4", "mask.channels=8"],
    "dc5": ["rpn.anchor_sizes=[16, 32]", "roi.channels=32"],
    "fpn": ["rpn.anchor_sizes=[8, 16, 32, 64, 128]", "roi.channels=32", "detector.pyramid_channels=16"],
}


def save_detector(path: Path, kind: str, *options: str) -> dict[str, torch.Tensor]:
    """Writes a detector of random weights that was trained on Caffe's pictures; returns its tensors."""
    scratch = ["backbone.norm=batch", "backbone.frozen_stages=0", f"detector.kind={kind}", "rpn.channels=16"]
    given = ["backbone.name=resnet18", *scratch, *KINDS[kind], *options]
    config = load_config(DetectionConfig, None, given)
    model = build_detector(config, 2)
    model.trunk.input_spec = MSRA_INPUT
    set_norm_eps(model, 1e-3)
    header = detector_header(model, config, ["cat", "dog"], {"AP": 0.5}, category_ids=[1, 2])
    save_weights(path, model.state_dict(), header)
    return model.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_its_backbone(kind: str, tmp_path: Path):
    detector, out = save_detector(tmp_path / "best.safetensors", kind), tmp_path / "r18.safetensors"
    report = convert(tmp_path / "best.safetensors", out, backbone_only=True).describe()
    assert (
        "missing: none" in report and "unused: none" in report and "beside the backbone were left" in report
    )
    _, header = read_weights(out)
    assert (header.model, header.norm_eps, header.classes, header.score) == ("resnet18", 1e-3, [], {})
    backbone = create_backbone("resnet18", out_features=("res4", "res5"), weights=out)
    assert backbone.input_spec == MSRA_INPUT and norm_eps(backbone) == 1e-3
    trunk = "trunk.body." if kind == "fpn" else "trunk."
    for name, tensor in backbone.state_dict().items():
        head = kind == "c4" and name.startswith("layer4")
        place = "roi_heads.region_features.head." if head else trunk
        assert torch.equal(tensor, detector[place + name]), name


def test_what_shapes_do_not_say_is_kept(tmp_path: Path):
    options = ["backbone.name=resnet50", "backbone.stride_on=1x1", "backbone.stem_pool=ceil"]
    save_detector(tmp_path / "best.safetensors", "dc5", *options)
    convert(tmp_path / "best.safetensors", tmp_path / "r50.safetensors", backbone_only=True)
    kept = read_weights(tmp_path / "r50.safetensors")[1].options
    assert (kept["stride_on"], kept["stem_pool"]) == ("1x1", "ceil") and "dilation" not in kept


def test_without_the_option_or_on_networks_of_others_it_is_refused(tmp_path: Path):
    out = tmp_path / "out.safetensors"
    save_detector(tmp_path / "best.safetensors", "c4")
    with pytest.raises(WeightsError, match=r"is a detector's \(FasterRCNN\); .* with --backbone-only"):
        convert(tmp_path / "best.safetensors", out)
    save_detector(tmp_path / "timm.safetensors", "c4", "backbone.name=timm/resnet18")
    with pytest.raises(WeightsError, match="detector's on timm/resnet18, which is not a network of ours"):
        convert(tmp_path / "timm.safetensors", out, backbone_only=True)
    assert not out.exists()
