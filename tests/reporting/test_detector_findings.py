"""What is found out about a detector's predictions, with the data set and without."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from detection.config import DetectionConfig
from detection.results.detection_report import ReportOptions
from detection.results.evaluation import score_predictions
from reporting.detector_findings import find
from training.config import load_config

DetectorRun = Callable[..., Path]


def read(run: Path) -> tuple[dict, DetectionConfig]:
    return json.loads((run / "result.json").read_text()), load_config(DetectionConfig, run / "config.yaml")


def test_with_the_data_set(detector_run: DetectorRun):
    run = detector_run("mine", 8.0)
    result, config = read(run)
    found = find(run, result, config, 200)
    assert found.notes == [] and found.resampled is not None
    assert found.resampled.means["AP"] == result["scores"]["AP"]  # to the last bit
    low, high = found.intervals["AP"]
    assert low < result["scores"]["AP"] < high
    assert [found.classes[name][2] for name in found.resampled.classes] == [8, 8]
    for name, (least, most, _) in found.classes.items():
        assert least is not None and most is not None and least <= result["class_ap"][name] <= most
    assert found.errors is not None and found.errors["errors"]["Bkg"]["count"] == 1
    assert found.worst[0][0] == "Surest false alarms"


def test_the_figures_are_those_of_the_evaluation(coco_set: Path, detector_run: DetectorRun, tmp_path: Path):
    """Computed anew from a folder of eval_det.py, and kept by it, the interval is the same."""
    run, out = detector_run("mine", 8.0), tmp_path / "out"
    truth = f"coco:{coco_set / 'annotations' / 'instances_val.json'}"
    options = ReportOptions(bootstrap=150, report=True, worst=2)
    score_predictions([str(run / "predictions.json")], truth, None, out, options)
    result = json.loads((out / "result.json").read_text())
    anew = find(out, result, None, 150)
    (run / "predictions.json").unlink()
    kept = find(out, result, None, 150)
    assert anew.resampled is not None and kept.resampled is None
    assert (
        anew.intervals == kept.intervals != {} and anew.errors == kept.errors and anew.curves == kept.curves
    )
    assert [title for title, _ in kept.worst] == [title for title, _ in anew.worst] != []
    assert "predictions.json; score the weights again with tools/eval_det.py --out" in kept.notes[0].text


def test_predictions_of_another_evaluation_are_said(detector_run: DetectorRun):
    run = detector_run("mine", 0.0)
    result, config = read(run)
    result["scores"]["AP"] -= 0.1
    (note,) = find(run, result, config, 20).notes
    assert note.warning and "it is of another evaluation, or the set has changed" in note.text


@pytest.mark.parametrize("damage", ["pictures", "set", "records"])
def test_what_is_missing_is_a_line(damage: str, detector_run: DetectorRun, coco_set: Path):
    run = detector_run("mine", 8.0)
    result, config = read(run)
    if damage == "pictures":
        for file in (coco_set / "pictures").iterdir():
            file.unlink()
    elif damage == "set":
        (coco_set / "annotations" / "instances_val.json").unlink()
    else:
        (run / "predictions.json").write_text('[{"image_id": 99')
    found = find(run, result, config, 20)
    (note,) = found.notes
    expected = {
        "pictures": "pictures are not shown",
        "set": "Nothing could be",
        "records": "predictions.json",
    }
    assert expected[damage] in note.text
    assert (not found.intervals) == (damage != "pictures")


def test_masks_have_an_interval_of_their_own(detector_run: DetectorRun, coco_set: Path):
    run = detector_run("mine", 8.0, "detector.mask=true")
    result, config = read(run)
    found = find(run, result, config, 100)
    assert found.notes == [] and found.resampled is not None
    assert found.resampled.means["segm/AP"] == result["scores"]["segm/AP"]  # to the last bit
    low, high = found.intervals["segm/AP"]
    assert low < result["scores"]["segm/AP"] < high


def test_voc_has_intervals_too(detector_run: DetectorRun):
    run = detector_run("mine", 8.0, "metric=voc07")
    result, config = read(run)
    found = find(run, result, config, 50)
    assert "mAP" in found.intervals and found.resampled is not None
    assert found.resampled.means["mAP"] == pytest.approx(result["scores"]["mAP"])


def test_a_folder_that_does_not_say_its_data(detector_run: DetectorRun):
    run = detector_run("mine", 0.0)
    result, _ = read(run)
    assert "does not say on which data it was scored" in find(run, result, None, 20).notes[0].text
