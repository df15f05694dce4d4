"""Which runs are rows of the paper, and what is said of their differences."""

import json
from pathlib import Path

import pytest

from classification.config import PretrainConfig
from detection.config import DetectionConfig
from reporting.page.page_parts import Note, Table
from reporting.paper_rows import classifier_rows, detector_rows, paper_section
from reproduction.detectors.detection_tables import DETECTION_TABLES
from reproduction.runs import CONFIGS
from training.config import load_config


def shown(rows: list) -> tuple[list[list[str]], list[Note]]:
    (section,) = paper_section(rows)
    table = section.parts[0]
    assert isinstance(table, Table)
    return [list(map(str, row)) for row in table.rows], [p for p in section.parts if isinstance(p, Note)]


def test_a_row_of_table_6(tmp_path: Path):
    config = load_config(PretrainConfig, CONFIGS / "cifar10_r20.yaml", ["run.seed=3"])
    rows, notes = shown(classifier_rows(config, tmp_path, {"top1_error": 8.25}))
    assert rows == [["ResNet-20: He et al. 2015, Table 6, §4.2", "top1 error", "8.75", "8.25", "−0.50"]]
    assert not any(note.warning for note in notes)


def test_a_row_of_another_unit_is_another_row(tmp_path: Path):
    gated = ["model.unit=exclusive_gating", "model.gate_bias=-7"]
    config = load_config(PretrainConfig, CONFIGS / "cifar10_r110_units.yaml", gated)
    rows, notes = shown(classifier_rows(config, tmp_path, {"top1_error": 10.0}))
    assert [row[0].partition(":")[0] for row in rows] == ["exclusive gating, initial bias -7"]
    assert rows[0][2:] == ["9.81", "10.00", "+0.19"] and not any(note.warning for note in notes)


def test_another_recipe_is_said():
    config = load_config(PretrainConfig, CONFIGS / "cifar10_r20.yaml", ["optim.lr=0.05"])
    _, notes = shown(classifier_rows(config, Path("none"), {"top1_error": 8.25}))
    (warning,) = [note.text for note in notes if note.warning]
    assert "does not compare like with like; this run has optim.lr 0.05 instead of 0.1." in warning


def test_protocols_of_imagenet(tmp_path: Path):
    """Table 2's and 3's figures are of ten crops: the run's own centre crop is no such figure."""
    config = load_config(PretrainConfig, CONFIGS / "imagenet_r34b.yaml", ["schedule.total_steps=600000"])
    rows, _ = shown(classifier_rows(config, tmp_path, {"top1_error": 26.0}))
    assert {row[3] for row in rows} == {"not scored so"} and {row[4] for row in rows} == {"–"}
    (tmp_path / "ten-crop").mkdir()
    (tmp_path / "last.safetensors").write_bytes(b"")
    result = {"scores": {"top1_error": 24.6, "top5_error": 7.5}}
    (tmp_path / "ten-crop" / "result.json").write_text(json.dumps(result))
    rows, _ = shown(classifier_rows(config, tmp_path, {"top1_error": 26.0}))
    table3 = [row for row in rows if "Table 3" in row[0]]
    assert [row[2:] for row in table3] == [["24.52", "24.60", "+0.08"], ["7.46", "7.50", "+0.04"]]


@pytest.mark.parametrize("number", ["7", "8"])
def test_rows_of_detectors(number: str):
    for row in DETECTION_TABLES[number].rows:
        file = CONFIGS / f"{row.config}.yaml"
        config = load_config(DetectionConfig, file, ["run.seed=1"])
        ours = {name: printed.value / 100 + 0.01 for name, printed in row.scores.items()}
        rows, notes = shown(detector_rows(config, ours))
        assert [line[4] for line in rows] == ["+1.00"] * len(row.scores)
        assert not any(note.warning for note in notes)
        assert all(f"{printed.value:g}" in file.read_text() for printed in row.scores.values())
        other = load_config(DetectionConfig, file, ["optim.lr=0.5"])
        assert any("optim.lr 0.5 instead of" in note.text for note in shown(detector_rows(other, ours))[1])


def test_a_row_of_the_ablation_is_told_by_what_it_switches_on():
    file = CONFIGS / "coco_frcnn_r101.yaml"
    refined = load_config(DetectionConfig, file, ["testing.refine=1"])
    rows, notes = shown(detector_rows(refined, {"AP50": 0.5, "AP": 0.3}))
    assert [row[:3] for row in rows] == [
        ["+ box refinement: He et al. 2015, Table 9, appendix B", "AP50", "49.90"],
        ["+ box refinement: He et al. 2015, Table 9, appendix B", "AP", "29.90"],
    ]
    assert not any(note.warning for note in notes)
    assert detector_rows(load_config(DetectionConfig, file, ["testing.refine=2"]), {"AP": 0.3}) == []


def test_no_row_no_section():
    config = load_config(PretrainConfig, CONFIGS / "shapes_r18.yaml")
    assert paper_section(classifier_rows(config, Path("none"), {"top1_error": 1.0})) == []
    assert paper_section(detector_rows(DetectionConfig(), {"AP": 0.5})) == []
