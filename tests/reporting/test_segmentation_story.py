"""The story of segmentation: a training, and an evaluation with an interval."""

import json
from pathlib import Path

import pytest

from foundation.errors import UserError
from reporting.page.page_parts import Note, Table
from reporting.run_report import find_kind, write_report
from reporting.segmentation_story import tell_evaluation, tell_training
from segmentation.config import SegmentationConfig
from training.config import dump_config, load_config

RESULT = {
    "metric": "segmentation",
    "scores": {"mIoU": 0.5, "pixel_accuracy": 0.75},
    "class_iou": {"background": 0.75, "absent": None, "cat": 0.25},
    "pictures": 1449,
}


@pytest.fixture
def training(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    overrides = ["data.kind=shapes", "model.name=fcn_resnet18", "model.backbone_weights=r18.safetensors"]
    config = load_config(SegmentationConfig, None, overrides)
    (folder / "config.yaml").write_text(dump_config(config))
    entries = [{"step": 50, "loss": 0.5, "lr": 0.01}, {"step": 100, "val/mIoU": 0.5}]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, entries)))
    return folder


def test_a_training_with_its_classes(training: Path, tmp_path: Path):
    (training / "result.json").write_text(json.dumps({**RESULT, "step": 100}))
    assert find_kind(training).made_by == "train_seg.py"
    story, _ = tell_training(training, "run", 1)
    assert story.headline == "Segmentation: mean IoU 50.0 %"
    titles = ["What was run", "Figures", "Curves", "Classes", "Repeat it", "Configuration"]
    assert [section.title for section in story.sections] == titles
    figures, classes = (story.sections[i].parts[0] for i in (1, 3))
    assert isinstance(figures, Table) and isinstance(classes, Table)
    assert figures.rows == [["mean IoU, %", "50.0"], ["pixel accuracy, %", "75.0"]]
    # The worst comes first, and what has no IoU last.
    assert [row[:2] for row in classes.rows] == [["cat", "25.0"], ["background", "75.0"], ["absent", "–"]]
    page = write_report([training], tmp_path / "page.html", 10).read_text()
    assert "fcn_resnet18, from r18.safetensors" in page and "tools/train_seg.py" in page
    assert "poly to zero, power 0.9" in page and "Validation scores" in page


def test_a_training_under_way(training: Path):
    story, _ = tell_training(training, "run", 1)
    assert story.headline == "Segmentation: mean IoU 50.0 %"
    assert "Classes" not in [section.title for section in story.sections]  # they are in result.json alone
    (training / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="has not been evaluated yet"):
        tell_training(training, "run", 1)


def test_an_evaluation(tmp_path: Path):
    about = {
        "weights": "w.safetensors",
        "without": ["res3.1"],
        "config": {"data": {"kind": "voc", "val": "2012:val"}},
    }
    result = {**RESULT, "interval": {"mIoU": [0.45, 0.55], "resamples": 100}, "evaluated": about}
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert find_kind(tmp_path).made_by == "eval_seg.py --out"
    story, _ = tell_evaluation(tmp_path, "eval", 1)
    facts, figures, classes = story.sections
    assert {("Data", "voc 2012:val"), ("Without", "res3.1")} <= set(facts.parts[0].rows)
    assert classes.title == "Classes"
    table, note = figures.parts
    assert isinstance(table, Table) and isinstance(note, Note)
    assert table.rows[0] == ["mean IoU, %", "50.0 (45.0 to 55.0)"]
    assert note.text.startswith("On 1,449 pictures. The interval, 95 %,")
