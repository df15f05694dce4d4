"""What the stages of a cascade ask for."""

import pytest

from detection.config import DetectionConfig
from detection.heads.roi_options import RoiConfig
from foundation.errors import UserError
from training.config import load_config


def test_stages_ask_for_more_and_more():
    # Cai and Vasconcelos 2018 and detectron2: IoU 0.5, 0.6, 0.7; weights 10, 20, 30 and 5, 10, 15.
    stages = [RoiConfig(stages=3).stage(number) for number in range(3)]
    assert [stage.iou for stage in stages] == pytest.approx([0.5, 0.6, 0.7])
    assert [stage.weights for stage in stages] == [(10, 5), (20, 10), (30, 15)]


def test_impossible_cascades_are_refused():
    with pytest.raises(UserError, match=r"stages=3 hands one box a region .* detector.class_agnostic=true"):
        load_config(DetectionConfig, None, ["roi.stages=3"])
    with pytest.raises(UserError, match="stages 3 from positive_iou 0.9 would ask for an IoU of 1.1"):
        load_config(DetectionConfig, None, ["roi.stages=3", "roi.positive_iou=0.9"])
