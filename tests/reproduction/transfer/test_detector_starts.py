"""How detectors start; what trained ones are compared by is in `tests/reproduction/detectors/`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from detection.config import DetectionConfig
from reproduction.detectors.detector_groups import Scored
from reproduction.trainings import with_seed
from reproduction.transfer import detector_starts
from reproduction.transfer.detector_starts import DetectorStarts
from reproduction.transfer.start_comparison import STARTS
from training.config import load_config

CONFIG = load_config(DetectionConfig, None, ["optim.lr=0.02", "run.seed=9", "backbone.name=resnet18"])


def test_the_starts_differ_in_the_backbone_alone():
    configs = {start: DetectorStarts().variant(CONFIG, start, "w.safetensors") for start in STARTS}
    for config in configs.values():
        assert replace(config, backbone=CONFIG.backbone) == CONFIG
        assert with_seed(config, 3) == replace(config, run=replace(config.run, seed=3))
    pretrained, unfrozen, scratch = (configs[start].backbone for start in STARTS)
    assert pretrained == replace(CONFIG.backbone, weights="w.safetensors")
    assert (pretrained.norm, pretrained.frozen_stages) == ("frozen", 2)
    assert unfrozen == replace(pretrained, norm="batch", frozen_stages=0)
    assert scratch == replace(unfrozen, weights=None)  # the weights alone


def test_the_backbone_alone_starts_from_weights():
    """Whatever the configuration starts from itself."""
    options = ["model.weights=whole.safetensors", "model.category_map=coco_to_voc"]
    config = load_config(DetectionConfig, None, options)
    assert {DetectorStarts().variant(config, start, "w").model for start in STARTS} == {
        DetectionConfig().model
    }


def test_synchronised_normalisation_stays_so():
    config = load_config(DetectionConfig, None, ["backbone.norm=sync"])
    assert [DetectorStarts().variant(config, start, "w").backbone.norm for start in STARTS] == ["sync"] * 3


@pytest.mark.parametrize(("scores", "masks"), [({"AP": 0.5}, False), ({"AP": 0.5, "segm/AP": 0.4}, True)])
def test_masks_are_compared_where_they_were_scored(
    scores: dict[str, float], masks: bool, monkeypatch: pytest.MonkeyPatch
):
    asked = {}

    def stand_in(detectors: Sequence[Scored], opened: object, *, masks: bool) -> None:
        asked.update(detectors=detectors, masks=masks)

    monkeypatch.setattr(detector_starts, "read_group", stand_in)
    folders = [Path("a"), Path("b")]
    DetectorStarts().read(CONFIG, folders, [{"scores": scores}] * 2)
    assert asked == {"detectors": [Scored(folder, CONFIG, scores) for folder in folders], "masks": masks}
