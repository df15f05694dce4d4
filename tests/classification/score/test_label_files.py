import json

import pytest
import torch

from classification.score.classifier_errors import judge, summarise
from classification.score.label_files import read_labels
from foundation.errors import UserError

CLASSES = ["ape", "bee", "cow"]
# As the data set lists them: by class, not by number.
VALIDATION = [
    "n01/ILSVRC2012_val_00000003.JPEG",
    "n01/ILSVRC2012_val_00000001.JPEG",
    "n02/ILSVRC2012_val_00000002.JPEG",
]


@pytest.fixture
def match(tmp_path):
    """Labels of the pictures according to a file of this content."""

    def call(content, ids, suffix=".json"):
        path = tmp_path / f"labels{suffix}"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return read_labels(path).match(ids, CLASSES)

    return call


def test_real_labels_are_found_by_the_number_in_the_name(match):
    real = [[0, 2], [], [1], [2]]  # of four pictures, of which the set has three
    assert match(real, VALIDATION) == [[1], [0, 2], []]


def test_real_score_by_hand(match):
    # Picture 3 is taken for bee: right. Picture 1 is taken for cow, one of its two labels: right. Picture 2
    # has no label. So no error in two pictures; with the folders' labels it was three in three.
    truth = match([[0, 2], [], [1]], VALIDATION)
    scores = torch.tensor([[0.2, 0.5, 0.3], [0.3, 0.1, 0.6], [0.8, 0.1, 0.1]]).log()
    result = summarise(judge(scores, truth), CLASSES)
    assert (result["pictures"], result["left_out"], result["scores"]["top1_error"]) == (2, 1, 0)
    assert result["scores"]["loss"] is None
    assert summarise(judge(scores, [[0], [0], [1]]), CLASSES)["scores"]["top1_error"] == 100
    one_wrong = match([[0, 1], [], [1]], VALIDATION)
    assert summarise(judge(scores, one_wrong), CLASSES)["scores"]["top1_error"] == 50


def test_lists_are_in_order_of_file_name(match):
    ids = ["b/10.png", "a/9.png", "a/11.png"]
    assert match([0, 1, [2]], ids) == [[1], [0], [2]]
    assert match("2\n0\n1\n", ids, ".txt") == [[0], [2], [1]]
    assert match("cow\r\nape\r\nbee", ids, ".txt") == [[0], [2], [1]]
    # CIFAR-10's pictures have numbers for names.
    assert match(list(range(3)) * 4, [f"test/{i}" for i in range(12)]) == [[i % 3] for i in range(12)]


def test_objects_are_by_file_name_or_by_id(match):
    ids = ["ape/0.png", "bee/0.png", "bee/1.png"]
    assert match({"ape/0.png": 1, "bee/0.png": ["cow", 0, "cow"], "1.png": "ape", "other.png": 9}, ids) == [
        *([1], [2, 0], [0]),
    ]
    with pytest.raises(
        UserError, match=r"several pictures are called '0.png'; name them with folder, as 'ape/0"
    ):
        match({"0.png": 1, "1.png": 2}, ids)
    with pytest.raises(UserError, match=r"labels.json has no entry '1.png'; add it, with \[\] if"):
        match({"ape/0.png": 1, "bee/0.png": 1}, ids)


@pytest.mark.parametrize(
    ("content", "suffix", "message"),
    [
        (
            [0, 1, 3],
            ".json",
            r"labels.json, entry 2: label 3; expected a number from 0 to 2, counted in order",
        ),
        ([0, [1, -1], 1], ".json", "entry 1: label -1; expected a number from 0 to 2"),
        ([0, True, 1], ".json", "entry 1: label True"),
        ([0, None, 1], ".json", "entry 1: label None"),
        ([0, 1.0, 1], ".json", "entry 1: label 1.0"),
        ([0, [[1]], 1], ".json", r"entry 1: label \[1\]"),
        ("0\n1\n3\n", ".txt", r"labels.txt, line 3: label 3; expected .* development kits count from 1"),
        ("0\n1\n-1\n", ".txt", "line 3: label -1"),
        ("0\ncat\n1\n", ".txt", "line 2: 'cat' is no class of this network; expected one such as 'ape'"),
        ("0\n\n1\n", ".txt", "line 2: '' is no class"),
        (
            [0, 1],
            ".json",
            "labels.json has 2 entries for 3 pictures; expected a JSON list with one entry per",
        ),
        ("0\n1\n2\n0\n", ".txt", "labels.txt has 4 entries for 3 pictures"),
        ("7", ".json", "labels.json holds a int; expected a JSON list"),
        ("[1,", ".json", r"labels.json: is damaged or of another kind \(.*\); expected a JSON list"),
    ],
)
def test_wrong_files_name_the_entry(match, content, suffix, message):
    with pytest.raises(UserError, match=message):
        match(content, ["b/10.png", "a/9.png", "a/11.png"], suffix)


def test_a_list_has_no_order_where_names_repeat(match):
    with pytest.raises(
        UserError, match="several pictures are called '0.png', so a list .* give a JSON object"
    ):
        match([0, 1], ["ape/0.png", "bee/0.png"])


def test_real_labels_that_end_too_early(match):
    with pytest.raises(
        UserError, match=r"has 2 entries, none for ILSVRC2012_val_00000003.JPEG; expected one for"
    ):
        match([[0], [1]], VALIDATION)


def test_no_file(tmp_path):
    cases = {tmp_path / "absent.json": "no such file", tmp_path: "is a folder, expected a file"}
    for path, wrong in cases.items():
        with pytest.raises(UserError, match=f"--labels {path}: {wrong}; expected a JSON list"):
            read_labels(path)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"bytes.txt: is no text in utf-8"):
        read_labels(tmp_path / "bytes.txt")
