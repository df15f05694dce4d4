"""Detectors on timm's networks: trained on Shapes by the command line, saved, loaded and used."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch

from backbones import read_weights
from backbones.networks.timm_networks import FrozenBatchNormAct2d
from detection.build import load_detector

STEPS = ["schedule.total_steps=2", "run.eval_every=2", "run.checkpoint_every=2"]


@pytest.mark.parametrize(
    ("name", "eps"),
    # The last has no batch normalisation, and no stem of stride 2.
    [
        ("timm/regnetx_002", 1e-5),
        ("timm/tf_mobilenetv3_small_minimal_100", 1e-3),
        ("timm/convnext_atto", 1e-5),
    ],
)
def test_training_and_prediction(
    name: str,
    eps: float,
    tool: Callable,
    tiny_detector: list[str],
    data_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
):
    out = tmp_path / "run"
    tool("train_det", "--out", out, *tiny_detector, f"backbone.name={name}", *STEPS)
    weights = out / "last.safetensors"
    _, header = read_weights(weights)
    assert header is not None and (header.options["name"], header.norm_eps) == (name, eps)
    detector = load_detector(weights)
    assert detector.model.trunk.name == name and detector.model.feature_specs["res4"].stride == 16
    capsys.readouterr()
    tool("eval_det", "--weights", weights, "--out", tmp_path / "again")
    scores = [
        json.loads((folder / "result.json").read_text())["scores"] for folder in (out, tmp_path / "again")
    ]
    assert scores[0] == scores[1]  # the file gives back the network that was trained
    picture = next((data_folder / "coco" / "val").iterdir())
    tool("predict", picture, "--weights", weights, "--out", tmp_path / "drawn", "--threshold", 0)
    assert json.loads((tmp_path / "drawn" / "predictions.json").read_text())["annotations"]


def test_frozen_from_a_file(tool: Callable, tiny_detector: list[str], tmp_path: Path):
    network = timm.create_model("regnetx_002")
    torch.save(network.state_dict(), tmp_path / "regnetx.pth")
    frozen = [
        *("backbone.name=timm/regnetx_002", f"backbone.weights={tmp_path / 'regnetx.pth'}"),
        *("backbone.norm=frozen", "backbone.frozen_stages=2"),
    ]
    tool("train_det", "--out", tmp_path / "run", *tiny_detector, *frozen, *STEPS)
    trunk = load_detector(tmp_path / "run" / "last.safetensors").model.trunk
    before, after = network.state_dict(), trunk.body.state_dict()
    moved = {key.split(".")[0] for key in after if not torch.equal(after[key], before[key])}
    assert moved == {"s2", "s3"}  # neither stem nor s1, which are stem and res2
    assert all(torch.equal(after[key], before[key]) for key in after if "running" in key)
    assert isinstance(trunk.body.s3.b1.conv1.bn, FrozenBatchNormAct2d)


def test_what_is_wrong_is_said_before_training(refused: Callable, tiny_detector: list[str], tmp_path: Path):
    out = ["--out", tmp_path / "run", *tiny_detector]
    unknown = refused("train_det", *out, "backbone.name=timm/regnetx_02")
    assert "unknown network of timm 'regnetx_02'; did you mean 'regnetx_0" in unknown
    assert "is built by timm; leave out shortcut='C'" in refused(
        "train_det", *out, "backbone.name=timm/regnetx_002", "backbone.shortcut=C"
    )
    assert "cannot be cut in two; take its map" in refused(
        "train_det", *out, "backbone.name=timm/vit_tiny_patch16_224"
    )
    assert not (tmp_path / "run").exists()
