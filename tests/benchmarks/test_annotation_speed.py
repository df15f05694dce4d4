"""Both sides see the same file, and it is legal. No timing decides here."""

import re

import pytest

from benchmarks.annotation_speed import annotation_calls, opening_line, random_annotations
from foundation.errors import UserError


def test_the_file_that_is_checked_is_the_one_that_is_parsed():
    for name, check, parse in annotation_calls(objects=30):
        assert name == "checks of a COCO file (peer: parsing its JSON), 30 objects"
        check()
        assert parse() == random_annotations(30)


def test_the_checks_look_at_every_object(monkeypatch: pytest.MonkeyPatch):
    content = random_annotations(30)
    content["annotations"][17]["iscrowd"] = "no"
    monkeypatch.setattr("benchmarks.annotation_speed.random_annotations", lambda objects: content)
    for _, check, _ in annotation_calls(objects=30):
        with pytest.raises(UserError, match="annotation 18.*iscrowd"):
            check()


def test_a_process_of_its_own_says_what_opening_takes():
    line = opening_line(objects=30, at_once=20)
    pattern = (
        r"Opening 30 objects with masks, 0 MB: [\d.]+ s, [\d.]+ s of them computing; "
        r"(\d+) MB at most, (\d+) MB before, (\d+) MB of torch alone"
    )
    most, before, alone = map(int, re.fullmatch(pattern, line).groups())
    assert most >= before >= alone > 50
