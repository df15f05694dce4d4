"""The story of segmentation: a training, and an evaluation with an interval."""

import json
from pathlib import Path

import numpy as np
import pytest

from foundation.errors import UserError
from reporting.page.page_parts import Note, Section, Table
from reporting.run_report import find_kind, write_report
from reporting.segmentation_story import ranked_classes, tell_evaluation, tell_training
from segmentation.config import SegmentationConfig
from segmentation.metrics.confusion_matrix import PictureCounts
from segmentation.results.counted_pictures import CountedPictures
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


def notes(section: Section) -> str:
    return " ".join(part.text for part in section.parts if isinstance(part, Note))


def keep_counts(folder: Path, found: int) -> None:
    """Two pictures of 8 pixels of background and of cat; of each class of the second so many are found.

    Those of the first are all found; what is missed is taken for the other class.
    """
    truth, hits = np.array([[8, 0, 8]] * 2), np.array([[8, 0, 8], [found, 0, found]])
    counts = PictureCounts(hits, truth, hits + (truth - hits)[:, ::-1])
    CountedPictures(["a", "b"], [*RESULT["class_iou"]], "set", counts).save(folder / "per_picture.npz")


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


def test_intervals_from_the_counts_of_the_pictures(training: Path):
    # Found 12 of 16 pixels of each class: 12 / 20. The second picture twice: 8 / 24; the first twice: 1.
    classes = {"background": 0.6, "absent": None, "cat": 0.6}
    result = {"scores": {"mIoU": 0.6}, "class_iou": classes, "pictures": 2, "step": 100}
    (training / "result.json").write_text(json.dumps(result))
    keep_counts(training, 4)
    story, run = tell_training(training, "run", 200)
    assert story.headline == "Segmentation: mean IoU 60.0 (33.3 to 100.0) %"
    figures, classes = (section for section in story.sections if section.title in ("Figures", "Classes"))
    assert (
        notes(figures)
        == "On 2 pictures. Intervals, 95 %, are over the choice of pictures, not over other trainings."
    )
    assert [row[:2] for row in classes.parts[0].rows] == [
        ["background", "60.0 (33.3 to 100.0)"],
        ["cat", "60.0 (33.3 to 100.0)"],
        ["absent", "–"],
    ]
    assert run.resampled is not None and run.resampled.fingerprint == "set"
    assert run.intervals["mIoU"] == pytest.approx((1 / 3, 1)) and len(run.entries) == 2


def test_the_worst_class_comes_first():
    assert ranked_classes({"a": 0.5, "b": None, "c": 0.25}) == ["c", "a", "b"]


def test_an_evaluation(tmp_path: Path):
    about = {
        "weights": "w.safetensors",
        "without": ["res3.1"],
        "config": {"data": {"kind": "voc", "val": "2012:val"}},
    }
    result = {**RESULT, "interval": {"mIoU": [0.45, 0.55], "resamples": 100}, "evaluated": about}
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert find_kind(tmp_path).made_by == "eval_seg.py --out"
    story, run = tell_evaluation(tmp_path, "eval", 1)
    assert run.config is not None and run.config.data.kind == "voc" and run.resampled is None
    facts, figures, classes = story.sections
    assert {("Data", "voc 2012:val"), ("Without", "res3.1")} <= set(facts.parts[0].rows)
    assert classes.title == "Classes"
    table, note, why = figures.parts
    assert why.text.startswith(
        "Of single pictures nothing is known: there is no per_picture.npz in the folder; "
    )
    assert isinstance(table, Table) and isinstance(note, Note)
    assert table.rows[0] == ["mean IoU, %", "50.0 (45.0 to 55.0)"]
    assert note.text.startswith("On 1,449 pictures. Intervals, 95 %,")
