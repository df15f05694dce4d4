"""What the tests of detectron2's adapter share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detection.data.shapes_scenes import coco_annotations, draw_scene, save_picture


@pytest.fixture
def random_detector() -> Callable[..., Any]:
    """Configurations with a random, trainable ResNet-18; keys and values in turn change them."""
    from detectron2.config import get_cfg

    from backbones.adapters.detectron2 import add_backbone_config

    def configure(name: str, *values: Any) -> Any:
        cfg = get_cfg()
        add_backbone_config(cfg)
        cfg.merge_from_file(
            str(Path(__file__).resolve().parents[3] / "configs" / "detectron2" / f"{name}.yaml")
        )
        network = [
            "MODEL.RESIDUAL.NAME",
            "resnet18",
            "MODEL.RESIDUAL.NORM",
            "batch",
            "MODEL.BACKBONE.FREEZE_AT",
            0,
        ]
        cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.RESIDUAL.WEIGHTS", "", *network, *values])
        return cfg

    return configure


@pytest.fixture(scope="session")
def coco_scenes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registered COCO data set of three generated pictures."""
    from detectron2.data.datasets import register_coco_instances

    folder = tmp_path_factory.mktemp("scenes")
    drawn = [draw_scene(number, "train") for number in (1, 2, 3)]
    for scene in drawn:
        save_picture(scene, folder)
    (folder / "instances.json").write_text(json.dumps(coco_annotations(drawn)))
    register_coco_instances("three_scenes", {}, str(folder / "instances.json"), str(folder))
    return "three_scenes"
