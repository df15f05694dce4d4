"""Detectors on networks of today: ConvNeXt in a pyramid, a plain transformer in a simple one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from backbones import save_weights
from backbones.norm import fold_batchnorm
from detection.build import build_detector, detector_header, load_detector
from detection.config import DetectionConfig
from training.config import load_config

pytest.importorskip("timm")
SMALL = [
    *("backbone.norm=batch", "backbone.frozen_stages=0", "detector.pyramid_channels=16", "roi.size=4"),
    *("roi.channels=24", "roi.regions_per_image=16", "roi.score_threshold=0.0"),
    "rpn.anchor_sizes=[16,32,64,128,256]",
]
NETWORKS = {
    "timm/convnext_atto": ("fpn", "trunk.body.body.stem.0.weight"),
    "timm/vit_tiny_patch16_224": ("simple_fpn", "trunk.body.body.transformer.patch_embed.proj.weight"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_learns_folds_to_itself_and_comes_back_from_its_file(
    name: str, tiny_options: list[str], batches: Callable, tmp_path: Path
):
    kind, first = NETWORKS[name]
    options = [option for option in tiny_options if not option.startswith("backbone.name")]
    config = load_config(
        DetectionConfig, None, [*options, *SMALL, f"backbone.name={name}", f"detector.kind={kind}"]
    )
    torch.manual_seed(0)
    model, batch = build_detector(config, 2).train(), batches([(64, 96), (60, 80)], [3, 0], num_classes=2)
    optimizer, objectness = torch.optim.AdamW(model.parameters(), 1e-4), []
    for _ in range(3):
        losses = model(batch)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        assert [key for key, value in model.named_parameters() if value.grad is None] == []
        optimizer.step()
        objectness.append(losses["loss_rpn_objectness"].item())  # of the same anchors in each step
    assert objectness[2] < objectness[0] and model.get_parameter(first).grad.abs().sum() > 0

    file = tmp_path / "best.safetensors"
    save_weights(
        file, model.state_dict(), detector_header(model, config, ["a", "b"], {}, category_ids=[1, 2])
    )
    loaded = load_detector(file)
    assert loaded.model.trunk.input_spec == model.trunk.input_spec
    with torch.no_grad():
        expected, found = model.eval()(batch), loaded.model(batch)
        folded = fold_batchnorm(model)(batch)
    assert found.valid.any() and torch.equal(found.boxes, expected.boxes)
    assert torch.equal(folded.scores, expected.scores)  # there is no batch normalisation to fold
    assert any(isinstance(module, nn.LayerNorm) for module in fold_batchnorm(model).modules())
