"""Which configuration a row has: what is shared, what a command changes, and what counts as a change."""

from pathlib import Path

import pytest

from detection.config import DetectionConfig
from foundation.errors import UserError
from reproduction.detectors.detection_tables import DETECTION_TABLES, DetectionRow
from reproduction.detectors.row_configs import (
    detector_changes,
    detector_config,
    overrides_of,
    training_config,
    training_key,
)
from reproduction.runs import CONFIGS
from training.config import load_config

ROWS = {row.key: row for row in DETECTION_TABLES["9"].rows}
SMALL = CONFIGS / "voc07_frcnn_r18.yaml"


@pytest.mark.parametrize("row", [row for table in DETECTION_TABLES.values() for row in table.rows], ids=repr)
def test_rows_load(row: DetectionRow):
    config = detector_config(row)
    assert config.backbone.name == ("vgg16" if row.key == "vgg16" else "resnet101")
    assert (config.metric == "coco") == (config.data.kind == "coco")


def test_rows_that_differ_in_testing_alone_are_trained_alike():
    keys = {key: training_key(row) for key, row in ROWS.items()}
    assert keys["baseline"] == keys["refinement"] == "coco_frcnn_r101"
    assert keys["context"] == keys["multi-scale"] == keys["ensemble"] == "coco_frcnn_r101_context"
    assert training_key(ROWS["context"], SMALL) == "voc07_frcnn_r18_context"
    for one, other in (("baseline", "refinement"), ("context", "ensemble")):
        assert training_config(ROWS[one], 3) == training_config(ROWS[other], 3)
    config = training_config(ROWS["multi-scale"], 3, file=SMALL)
    assert config.detector.context and config.run.seed == 3
    assert config.testing.refine == 0 and config.testing.scales == ()
    scored = detector_config(ROWS["multi-scale"], file=SMALL)
    assert scored.testing.refine == 1 and scored.testing.scales == (200, 400, 600, 800, 1000)
    assert scored.backbone.name == "resnet18"


def test_the_file_of_the_detector_with_context_is_what_the_row_trains():
    file = CONFIGS / "coco_frcnn_r101_context.yaml"
    assert training_config(ROWS["context"], 0) == load_config(DetectionConfig, file)


def test_a_command_sets_the_value_of_what_a_row_switches_on_and_switches_nothing_on():
    overrides = ["testing.scales=[128, 256]", "optim.lr=0.5", "testing.vote=false"]
    assert overrides_of(ROWS["baseline"], overrides) == overrides[1:]
    assert overrides_of(ROWS["multi-scale"], overrides) == [
        *overrides[1:],
        *("testing.refine=1", "detector.context=true", overrides[0]),
    ]
    # A training does not depend on how its detector is tested.
    assert training_config(ROWS["baseline"], 0, overrides) == training_config(
        ROWS["refinement"], 0, ["optim.lr=0.5"]
    )


def test_changes_are_those_of_the_recipe():
    before = detector_config(ROWS["baseline"])
    assert detector_changes(before, detector_config(ROWS["refinement"])) == [
        "testing.refine: 0 before, 1 now"
    ]
    same = ["run.seed=4", "run.device=cpu", "data.root=elsewhere"]
    assert detector_changes(before, detector_config(ROWS["baseline"], same)) == []


def test_a_wrong_key_is_refused(tmp_path: Path):
    expected = r"coco_frcnn_r101.yaml, as .*train_det.py:\n  optim.rate: unknown key"
    with pytest.raises(UserError, match=expected):
        detector_config(ROWS["baseline"], ["optim.rate=1"])
    with pytest.raises(UserError, match="no configuration file at"):
        detector_config(ROWS["baseline"], file=tmp_path / "none.yaml")
