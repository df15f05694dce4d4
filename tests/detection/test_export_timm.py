"""An exported detector on a plain transformer takes other sizes than it was traced with."""

import os
from pathlib import Path

import pytest
import torch

from detection.build import LoadedDetector, build_detector
from detection.config import DetectionConfig
from detection.export import SHAPES, ExportedDetector, check_export, example_pictures, export
from training.config import load_config

pytest.importorskip("timm")


@pytest.mark.skipif(os.environ.get("RUN_SLOW") != "1", reason="takes a minute; RUN_SLOW=1 runs it")
def test_position_embeddings_are_interpolated_in_the_file(tmp_path: Path):
    options = [
        *("backbone.name=timm/vit_tiny_patch16_224", "backbone.norm=batch", "backbone.frozen_stages=0"),
        *("detector.kind=simple_fpn", "detector.pyramid_channels=8", "roi.size=4", "roi.channels=24"),
        *("rpn.channels=16", "rpn.pre_nms_test=100", "rpn.post_nms_test=30", "roi.score_threshold=0.0"),
    ]
    torch.manual_seed(0)
    config = load_config(DetectionConfig, None, options)
    model = build_detector(config, 3).eval()
    with torch.no_grad():  # at their usual scale all scores are alike
        model.rpn.head.objectness.weight.mul_(40)
        model.roi_heads.classifier.weight.mul_(100)
    export(LoadedDetector(model, config, ["a", "b", "c"], [1, 2, 3]), tmp_path / "vit.pt2", fold=True)
    assert check_export(model, tmp_path / "vit.pt2") < 1e-4
    module = ExportedDetector(model)
    with torch.no_grad():
        found = [module(example_pictures("uint8", shape)) for shape in SHAPES]
    assert all(values["valid"].sum() > 3 for values in found)
