"""A detector's story: its figures, classes in order, kinds of errors; of a training and of an evaluation."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from detection.results.detection_report import ReportOptions
from detection.results.evaluation import score_predictions
from foundation.errors import UserError
from reporting.detector_story import tell_evaluation, tell_training
from reporting.page.page_parts import Facts, Gallery, Note, Section, Story, Table

DetectorRun = Callable[..., Path]


def part(story: Story, title: str) -> Section:
    (found,) = [section for section in story.sections if section.title == title]
    return found


def table(story: Story, title: str) -> list[list[str]]:
    (found,) = [part for part in part(story, title).parts if isinstance(part, Table)]
    return [list(map(str, row)) for row in found.rows]


def test_of_a_training(detector_run: DetectorRun):
    story, run = tell_training(detector_run("mine", 8.0), "mine", 100)
    assert story.headline.startswith("AP ") and " to " in story.headline
    assert table(story, "Figures")[0][1] == story.headline.removeprefix("AP ").removesuffix(" %")
    assert table(story, "Figures")[1][1].count("(") == 0  # the interval is of the main figure alone
    classes = table(story, "Classes")
    assert [row[0] for row in classes][-1] == "Straße" and classes[-1][1] == "–"  # it has no object
    assert float(classes[0][1].split()[0]) >= float(classes[1][1].split()[0])
    assert "With fewer than 10 objects" in str(part(story, "Classes").parts[1])
    kinds = table(story, "Kinds of errors")
    assert len(kinds) == 6 and float(kinds[0][2]) >= float(kinds[-1][2])
    facts = part(story, "What was run").parts[0]
    assert isinstance(facts, Facts)
    assert dict(facts.rows)["Network"] == "Faster R-CNN C4 on resnet18"
    assert run.resampled is not None and run.metric == "coco"


def test_masks_stand_beside_the_boxes(detector_run: DetectorRun):
    run = detector_run("mine", 8.0, "detector.mask=true")
    scores = json.loads((run / "result.json").read_text())["scores"]
    story, _ = tell_training(run, "mine", 50)
    figures = {row[0]: row[2] for row in table(story, "Figures")}
    assert figures["AP50"] == f"{100 * scores['segm/AP50']:.1f}"
    assert figures["AP"].startswith(f"{100 * scores['segm/AP']:.1f} (")


def test_a_run_under_way(detector_run: DetectorRun):
    run = detector_run("mine", 0.0)
    (run / "result.json").unlink()
    story, _ = tell_training(run, "mine", 20)
    notes = [p.text for p in part(story, "Figures").parts if isinstance(p, Note)]
    assert "The run has not ended: its figures are of step 20." in notes
    assert not [section for section in story.sections if section.title == "Classes"]
    (run / "metrics.jsonl").write_text('{"step": 1, "lr": 0.1}\n')
    with pytest.raises(UserError, match="has not been evaluated yet"):
        tell_training(run, "mine", 20)


def test_of_an_evaluation(detector_run: DetectorRun, coco_set: Path, tmp_path: Path):
    predictions = detector_run("run", 8.0) / "predictions.json"
    truth = f"coco:{coco_set / 'annotations' / 'instances_val.json'}"
    options = ReportOptions(report=True, worst=1)
    score_predictions([str(predictions)], truth, None, tmp_path / "out", options)
    story, run = tell_evaluation(tmp_path / "out", "out", 50)
    facts = part(story, "What was run").parts[0]
    assert isinstance(facts, Facts)
    assert dict(facts.rows)["Result file"] == str(predictions) and dict(facts.rows)["Data"] == truth
    assert run.resampled is not None and " to " in story.headline
    (charts,) = part(story, "Charts in the folder").parts
    assert isinstance(charts, Gallery)
    assert [picture.caption for picture in charts.pictures] == [
        *("confidence", "confusion", "confusion_normalised"),
    ]
    Image.new("RGB", (4, 4)).save(tmp_path / "out" / "f1.png")
    assert part(tell_evaluation(tmp_path / "out", "out", 50)[0], "Charts in the folder").parts
    assert not [section for section in story.sections if section.title in ("Curves", "Repeat it")]


def test_damaged_curves_are_named(detector_run: DetectorRun, coco_set: Path, tmp_path: Path):
    run, out = detector_run("run", 8.0), tmp_path / "out"
    truth = f"coco:{coco_set / 'annotations' / 'instances_val.json'}"
    score_predictions([str(run / "predictions.json")], truth, None, out, ReportOptions(report=True, worst=0))
    (run / "predictions.json").unlink()
    (out / "curves.json").write_text('{"cat": {"AP": 0.5, "recall": [0.5]}}')
    with pytest.raises(UserError, match=r"curves\.json is damaged .*; make it anew"):
        tell_evaluation(out, "out", 50)
