import csv
import json

import pytest
import torch

from classification.score.classifier_errors import judge
from classification.score.evaluation_report import (
    ReportRequest,
    describe,
    most_confused,
    read_class_ids,
    report,
    write_confusion,
    write_predictions,
    write_submission,
)
from classification.score.saved_scores import Scores
from foundation.errors import UserError

CLASSES = ["ape", "bee", "cow, brown", "dog", "eel", "fox"]
IDS = ["ape/2.png", "ape/10.png", "bee/1.png"]
PROBABILITIES = torch.tensor(
    [[0.5, 0.2, 0.1, 0.08, 0.07, 0.05], [0.05, 0.07, 0.08, 0.1, 0.2, 0.5], [0.05, 0.2, 0.5, 0.1, 0.08, 0.07]]
)


@pytest.fixture
def scores():
    about = {"protocol": "dense", "scales": [32, 48], "weights": "w.safetensors", "sha256": "0"}
    return Scores(IDS, torch.tensor([0, 0, 1]), CLASSES, PROBABILITIES.log(), about)


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_report_by_hand(scores, tmp_path):
    (tmp_path / "map.txt").write_text(
        "\n".join(f"{name[:3]} {number} x" for number, name in enumerate("abc"))
    )
    result = report(scores, ReportRequest.read(CLASSES, tmp_path / "new" / "out", None, None))
    assert result["protocol"] == "dense" and result["scales"] == [32, 48] and result["pictures"] == 3
    assert result["scores"]["top1_error"] == pytest.approx(200 / 3)
    assert result["scores"]["top5_error"] == pytest.approx(100 / 3)
    assert result["most_confused"] == [
        {"label": "ape", "taken_for": "fox", "pictures": 1},
        {"label": "bee", "taken_for": "cow, brown", "pictures": 1},
    ]
    out = tmp_path / "new" / "out"
    assert json.loads((out / "result.json").read_text()) == {
        **result,
        "evaluated": {"weights": "w.safetensors", "sha256": "0"},
    }
    assert {path.name for path in out.iterdir()} == {"result.json", "predictions.csv", "confusion.csv"}


def test_a_result_is_always_of_what_lies_beside_it(scores, tmp_path, monkeypatch):
    request = ReportRequest.read(CLASSES, tmp_path, None, None)
    report(scores, request)

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("classification.score.evaluation_report.write_confusion", stop)
    with pytest.raises(KeyboardInterrupt):
        report(scores, request)
    assert not (tmp_path / "result.json").exists()  # the one from before, beside new predictions


def test_predictions_are_named(scores, tmp_path):
    write_predictions(tmp_path / "p.csv", IDS, judge(scores.log_probabilities, [[0], [], [1, 2]]), CLASSES)
    head, *found = rows(tmp_path / "p.csv")
    assert head[:4] == ["id", "labels", "class_1", "probability_1"] and head[-1] == "probability_5"
    assert found[0] == [*("ape/2.png", "ape", "ape", "0.5", "bee", "0.2", "cow, brown", "0.1")] + [
        *("dog", "0.08", "eel", "0.07"),
    ]
    assert [row[1] for row in found] == ["ape", "", "bee|cow, brown"]


def test_confusion_has_rows_by_label(tmp_path):
    matrix = torch.zeros(6, 6, dtype=torch.int64)
    matrix[0, 0], matrix[0, 5], matrix[1, 2] = 1, 7, 3
    write_confusion(tmp_path / "c.csv", matrix, CLASSES)
    head, *found = rows(tmp_path / "c.csv")
    assert head == ["label", *CLASSES] and [row[0] for row in found] == CLASSES
    assert found[0][1:] == ["1", "0", "0", "0", "0", "7"] and found[1][3] == "3"
    assert [pair["pictures"] for pair in most_confused(matrix, CLASSES)] == [7, 3]


def test_submission_is_in_order_of_file_name_with_the_servers_numbers(scores, tmp_path):
    (tmp_path / "map.txt").write_text("\n".join(f"{name} {100 - i} word" for i, name in enumerate("abcdef")))
    ids = read_class_ids(tmp_path / "map.txt", list("abcdef"))
    assert ids == ["100", "99", "98", "97", "96", "95"]
    write_submission(tmp_path / "s.txt", IDS, judge(scores.log_probabilities, [[], [], []]), ids)
    # File names 1.png, 10.png, 2.png.
    assert (tmp_path / "s.txt").read_text().splitlines() == [
        *("98 99 97 96 95", "95 96 97 98 99", "100 99 98 97 96"),
    ]


def test_wrong_maps_of_classes(tmp_path):
    with pytest.raises(UserError, match=r"absent.txt: no such file; --submission expected lines such"):
        read_class_ids(tmp_path / "absent.txt", ["a"])
    (tmp_path / "map.txt").write_text("a 1 x\nb two y\n")
    with pytest.raises(UserError, match=r"map.txt has no line 'b <number>'; give the file of these classes"):
        read_class_ids(tmp_path / "map.txt", ["a", "b"])
    with pytest.raises(
        UserError, match="--submission writes submission.txt to the folder of --out; give --out"
    ):
        ReportRequest.read(["a"], None, None, tmp_path / "map.txt")


RESULT = {
    "pictures": 12,
    "scores": {"top1_error": 8.75, "top5_error": 0.4, "loss": None},
    "class_top1_error": {"ape": 12.5, "a very long name": None},
}


def test_the_table():
    assert describe(RESULT).splitlines() == [
        "top-1 error, %        8.75",
        "top-5 error, %        0.40",
        "loss, nats               -",
        "top-1 error of each class, %, - where it has no picture (12 pictures in all):",
        "  ape                12.50",
        "  a very long name       -",
    ]
    without = {"top1_error": 8.75, "loss": None}
    assert "top-5" not in describe(RESULT | {"scores": without})


def test_the_table_says_how_it_was_scored():
    dense = RESULT | {"protocol": "dense", "scales": [224, 256], "left_out": 3}
    lines = describe(dense).splitlines()
    assert lines[0] == "dense, short sides of 224, 256 pixels and mirror images"
    assert "(12 pictures in all, 3 without label left out)" in lines[4]
    assert describe(RESULT | {"protocol": "ten-crop"}).startswith("ten-crop\ntop-1")
    assert describe(RESULT | {"protocol": "ensemble", "members": [{}, {}]}).startswith(
        "mean of 2 files of scores\n"
    )
    pairs = [{"label": "ape", "taken_for": "bee", "pictures": 21}]
    assert describe(RESULT | {"most_confused": pairs}).splitlines()[-1] == "     21  ape → bee"


def test_a_long_table_names_the_worst_classes():
    errors = {f"class{i}": float(i) for i in range(1000)} | {"empty": None}
    lines = describe(RESULT | {"class_top1_error": errors}).splitlines()
    assert len(lines) == 14
    assert lines[3].startswith("top-1 error of the 10 worst classes, % (12 pictures in all; result.json has")
    assert lines[4].split() == ["class999", "999.00"] and lines[-1].split() == ["class990", "990.00"]


def test_pictures_without_labels_have_a_table_too():
    result = {"pictures": 0, "left_out": 5, "scores": {}, "class_top1_error": {"a": None}}
    assert describe(result) == "no errors: none of the 5 pictures has a label"


def test_control_characters_stand_escaped(tmp_path):
    outcomes = judge(torch.tensor([[0.9, 0.1]]).log(), [[0]])
    write_predictions(tmp_path / "p.csv", ["\x1b[2J/\udcff.png"], outcomes, ["\x1b[2J", "b\r"])
    head, found = rows(tmp_path / "p.csv")
    assert found[:3] == ["\\x1b[2J/\\udcff.png", "\\x1b[2J", "\\x1b[2J"] and found[4] == "b\\r"
