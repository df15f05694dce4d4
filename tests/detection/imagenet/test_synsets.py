"""The devkit's classes, and everything that can be wrong with their numbers."""

from pathlib import Path

import pytest

from detection.data.annotations import Problem
from detection.imagenet.synsets import Synset, labels_of, read_synsets


def test_classes_in_the_order_of_their_numbers(tmp_path: Path):
    file, problems = tmp_path / "map.txt", list[Problem]()
    file.write_text("n03 2 dog house\nn05 1 ant_eater\nn01 3 cat\n")
    synsets = read_synsets(file, problems)
    assert problems == []
    assert synsets == [Synset("n05", 1, "ant_eater"), Synset("n03", 2, "dog house"), Synset("n01", 3, "cat")]
    assert labels_of(synsets) == {"n05": 1, "n03": 2, "n01": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("n01 1 a\nn02 1 b\n", "line 2: number 1 is already that of n01; expected each once"),
        ("n01 1 a\nn01 2 a\n", "line 2: n01 stands a second time; expected each class once"),
        ("n01 one a\n", "line 1: 'one' is no number of a class; expected 1 or more"),
        ("n01 0 a\n", "line 1: '0' is no number of a class; expected 1 or more"),
        ("n01 1 a\nn02 3 b\n", "map.txt: class 2 is missing; expected the numbers from 1, each once"),
        ("\n", "map.txt: class 1 is missing"),
    ],
)
def test_faults(tmp_path: Path, text: str, said: str):
    file, problems = tmp_path / "map.txt", list[Problem]()
    file.write_text(text)
    read_synsets(file, problems)
    (problem,) = problems
    assert said in str(problem.error(""))
