"""Paired differences of detectors against hotcoco's own comparison, and what is not compared."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hotcoco
import pytest

from reporting.comparison.detector_comparison import compare_detectors
from reporting.detector_story import DetectorRun, tell_training


@pytest.fixture
def two(detector_run: Callable[..., Path]) -> list[DetectorRun]:
    folders = [detector_run("good", 2.0), detector_run("bad", 10.0, "optim.lr=0.5")]
    return [tell_training(folder, folder.name, 400)[1] for folder in folders]


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def test_a_paired_difference(two: list[DetectorRun], rows: Callable, coco_set: Path, tmp_path: Path):
    sections = compare_detectors(two, 400)
    ((pair, text, star, _),) = rows(sections, "Paired differences")
    assert (pair, star) == ("bad less good", "*")
    value, low, high = (number(word.strip("()")) for word in text.replace(" to ", " ").split())
    assert value == pytest.approx(100 * (two[1].scores["AP"] - two[0].scores["AP"]), abs=0.051)
    # hotcoco draws other pictures, and interpolates the ends otherwise: 3 points on an interval of some 20.
    truth = hotcoco.COCO(str(coco_set / "annotations" / "instances_val.json"))
    evaluations = []
    for name in ("good", "bad"):
        evaluation = hotcoco.COCOeval(
            truth, truth.load_res(str(tmp_path / name / "predictions.json")), "bbox"
        )
        evaluation.evaluate()
        evaluations.append(evaluation)
    theirs = hotcoco.compare(*evaluations, n_bootstrap=400, seed=1)
    assert value == pytest.approx(100 * theirs["deltas"]["AP"], abs=0.051)
    interval = theirs["ci"]["AP"]
    assert (low, high) == pytest.approx((100 * interval["lower"], 100 * interval["upper"]), abs=3)
    assert rows(sections, "What differs") == [["optim.lr", "0.001", "0.5"]]
    by_class = rows(sections, "Paired differences", 1)
    assert len(by_class) == 2 and abs(number(by_class[0][1].split()[0])) > 0
    (first, second) = rows(sections, "Side by side")
    assert first[:2] == ["good", "coco"] and first[3] == "" and number(second[3]) == value


def test_a_run_does_not_differ_from_itself(two: list[DetectorRun], rows: Callable, texts: Callable):
    sections = compare_detectors([two[0], replace(two[0], name="again")], 400)
    assert rows(sections, "Paired differences")[0][:3] == ["again less good", "+0.0 (+0.0 to +0.0)", ""]
    assert "Nothing in the configurations." in texts(sections)


def test_what_is_not_compared(
    two: list[DetectorRun], detector_run: Callable[..., Path], coco_set: Path, rows: Callable, texts: Callable
):
    voc = tell_training(detector_run("voc", 2.0, "metric=voc12"), "voc", 9)[1]
    file = coco_set / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][0] += 1
    file.write_text(json.dumps(content))
    moved = tell_training(detector_run("moved", 2.0), "moved", 400)[1]
    without = replace(two[0], name="without", resampled=None)
    sections = compare_detectors([two[0], voc, moved, without], 9)
    said = texts(sections)
    assert "good and voc are not compared: the metrics are coco and voc12." in said
    assert "good and moved are not compared: they were scored on different pictures, annotations or" in said
    assert "good and without are not compared: of without the predictions or the data set are not" in said
    # No difference where the figures mean something else; of the data of the last one nothing is known.
    assert [row[3] for row in rows(sections, "Side by side")] == ["", "", "", "+0.0"]
