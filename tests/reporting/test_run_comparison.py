"""Paired differences against hotcoco's own comparison, and what is not compared."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hotcoco
import numpy as np
import pytest

from reporting.classifier_story import Answers, ClassifierRun
from reporting.detector_story import DetectorRun, tell_training
from reporting.page.page_parts import Note, Section, Table
from reporting.run_comparison import compare_classifiers, compare_detectors


def texts(sections: list[Section]) -> str:
    return " ".join(p.text for section in sections for p in section.parts if isinstance(p, Note))


def rows(sections: list[Section], title: str, number: int = 0) -> list[list[str]]:
    (section,) = [section for section in sections if section.title == title]
    table = [part for part in section.parts if isinstance(part, Table)][number]
    return [list(map(str, row)) for row in table.rows]


@pytest.fixture
def two(detector_run: Callable[..., Path]) -> list[DetectorRun]:
    folders = [detector_run("good", 2.0), detector_run("bad", 10.0, "optim.lr=0.5")]
    return [tell_training(folder, folder.name, 400)[1] for folder in folders]


def test_a_paired_difference(two: list[DetectorRun], coco_set: Path, tmp_path: Path):
    sections = compare_detectors(two, 400)
    ((pair, text, star, _),) = rows(sections, "Paired differences")
    assert (pair, star) == ("bad less good", "*")
    value, low, high = (
        float(word.strip("()").replace("−", "-")) for word in text.replace(" to ", " ").split()
    )
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
    assert len(by_class) == 2 and abs(float(by_class[0][1].split()[0].replace("−", "-"))) > 0


def test_a_run_does_not_differ_from_itself(two: list[DetectorRun]):
    sections = compare_detectors([two[0], replace(two[0], name="again")], 400)
    assert rows(sections, "Paired differences")[0][:3] == ["again less good", "+0.0 (+0.0 to +0.0)", ""]
    assert "Nothing in the configurations." in texts(sections)


def test_what_is_not_compared(two: list[DetectorRun], detector_run: Callable[..., Path], coco_set: Path):
    voc = tell_training(detector_run("voc", 2.0, "metric=voc12"), "voc", 9)[1]
    file = coco_set / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][0] += 1
    file.write_text(json.dumps(content))
    moved = tell_training(detector_run("moved", 2.0), "moved", 400)[1]
    without = replace(two[0], name="without", truth=None)
    said = texts(compare_detectors([two[0], voc, moved, without], 9))
    assert "good and voc are not compared: the metrics are coco and voc12." in said
    assert "good and moved are not compared: they were scored on different pictures or annotations." in said
    assert "good and without are not compared: of without the predictions or the data set are not" in said


def test_of_many_each_is_compared_with_the_first(two: list[DetectorRun]):
    many = [replace(two[i % 2], name=f"r{i}") for i in range(8)]
    assert [row[0] for row in rows(compare_detectors(many, 9), "Paired differences")] == [
        f"r{i} less r0" for i in range(1, 8)
    ]


def classifier(name: str, wrong: list[bool]) -> ClassifierRun:
    count = len(wrong)
    ids = [f"a/{i}" for i in range(count)]
    answers = Answers(ids, ["a"] * count, ["b"] * count, np.ones(count), np.array(wrong))
    return ClassifierRun(
        name, None, {"top1_error": 100 * sum(wrong) / count, "loss": 1.0}, count, answers, "python x"
    )


def test_classifiers():
    first, second = (
        classifier("A", [True] * 12 + [False] * 28),
        classifier("B", [False] * 11 + [True] + [False] * 28),
    )
    sections = compare_classifiers([first, second], 500)
    assert rows(sections, "Side by side")[0][:2] == ["A", "30.0 (18.1 to 45.4)"]
    pair, text, star, _ = rows(sections, "Paired differences")[0]
    assert (pair, star) == ("B less A", "*") and text.startswith("−27.5 (")
    # 11 pictures that only A gets wrong: p = 2 / 2^11.
    assert rows(sections, "Paired differences", 1) == [["B less A", "0", "11", "0.00098"]]


def test_classifiers_that_are_not_compared():
    one = classifier("A", [True, False])
    other = replace(classifier("B", [True, False, True]))
    silent = replace(one, name="C", answers=None)
    said = texts(compare_classifiers([one, other, silent], 9))
    assert "A and B are not compared: they were scored on different pictures or labels." in said
    assert "A and C are not compared: what C says of each picture is not known before python x." in said
