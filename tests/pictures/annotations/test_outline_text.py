"""Polygons read from text are those that JSON's parser finds, or are left to it."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from pictures.annotations.outline_text import read_outlines

NUMBERS = ["0", "7", "-0", "-12", "0.5", "640.01", "-0.07", "12345.67", "9999999", "234567.8", "10.00"]


def entry(segmentation: str, number: int = 1) -> str:
    return f'{{"id": {number}, "segmentation": {segmentation}, "iscrowd": 0}}'


def read(text: str) -> list[Any]:
    """All entries, with the polygons put back."""
    entries, outlines = read_outlines(text.encode())
    assert outlines is not None
    parts = np.split(outlines.hundredths / 100, np.cumsum(outlines.lengths)[:-1])
    for row, count in zip(outlines.rows, outlines.counts, strict=True):
        assert entries[row]["segmentation"] is None
        entries[row]["segmentation"] = [part.tolist() for part in parts[:count]]
        del parts[:count]
    assert not parts
    return entries


@pytest.mark.parametrize("comma", [",", ", "])
def test_polygons_are_those_of_the_parser(comma: str):
    polygons = [f"[{comma.join(NUMBERS)}]", f"[{comma.join(reversed(NUMBERS))}]", "[1]"]
    run = '{"size": [4, 6], "counts": [24]}'
    some = [f"[{polygons[0]}]", run, f"[{comma.join(polygons)}]", "null", f"[{polygons[1]}]"]
    text = f"[{', '.join(entry(one, number) for number, one in enumerate(some))}]"
    assert read(text) == json.loads(text)
    tight = text.replace('": ', '":')
    assert read(tight) == json.loads(tight)


@given(st.lists(st.lists(st.lists(st.integers(-99_999, 999_999), min_size=1), min_size=1), min_size=1))
def test_any_hundredths(objects: list[list[list[int]]]):
    values = [[[number / 100 for number in polygon] for polygon in one] for one in objects]
    text = json.dumps([{"segmentation": one} for one in values])
    assert read(text) == json.loads(text)


@pytest.mark.parametrize(
    "segmentation",
    [
        *("[[1.234, 2]]", "[[123456.78, 2]]", "[[1e2, 2]]", "[[1E2, 2]]", "[[21474836.5, 1]]", "[[true, 2]]"),
        *("[[ 1, 2]]", "[[1 , 2]]", "[[1,\n2]]", "[[1,  2]]", "[[1, 2] , [3]]", "[ [1, 2]]", "[[1, 2] ]"),
        *("[[]]", "[[1], []]", "[[], [1]]", "[]", "[1, 2]", "[[[1, 2]]]", '[["1", 2]]', '[["]]"]]'),
    ],
)
def test_what_is_unusual_is_left_to_the_parser(segmentation: str):
    text = f"[{entry('[[5, 6]]')}, {entry(segmentation)}, {entry('[[7, 8]]')}]"
    entries, outlines = read_outlines(text.encode())
    assert outlines is None and entries == json.loads(text)


@pytest.mark.parametrize(
    "segmentation",
    [
        *("[[01, 2]]", "[[-01, 2]]", "[[00.5, 2]]", "[[.5, 2]]", "[[-.5, 2]]", "[[5., 2]]", "[[1..5, 2]]"),
        *("[[1.2.3, 2]]", "[[--1, 2]]", "[[1-1, 2]]", "[[1-, 2]]", "[[-, 2]]", "[[+1, 2]]", "[[1/2, 2]]"),
        *("[[1 2]]", "[[1,, 2]]", "[[, 1]]", "[[1, 2,]]", "[[1],,[2]]", "[[1,,,2], [3]]", "[[1][2]]"),
        *("[[1,,,,,2]]", "[[1], [,,2]]", "[[1, 2]", "[[1, 2]]5", "[[1, 2]].5", "[[1, 2]], [[3, 4]]"),
        *("[[1], 2]]", "[[1] 2]]", "[[0x10, 2]]", "[[1\x00, 2]]", "[[1;2]]", "[[1.-5, 2]]", "[[1,.,2]]"),
    ],
)
def test_what_is_no_json_is_refused(segmentation: str):
    with pytest.raises(ValueError):
        json.loads(text := f"[{entry('[[5, 6]]')}, {entry(segmentation)}]")
    with pytest.raises(ValueError):
        read_outlines(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        '[{"a": {"segmentation": [[1, 2]]}, "segmentation": null}]',  # of something else
        '[{"a": {"segmentation": [[1, 2]]}, "segmentation" : null}]',
        '[{"a": {"segmentation": [[1, 2]]}}]',
        '[{"segmentation": [[1, 2]], "segmentation": null}]',
        r'[{"a": {"segmentation": [[1, 2]]}, "segment\u0061tion": null}]',
        r'[{"segmentation": [[1, 2]], "a": "\"segmentation\": [[1, 2]]"}]',
        '[{"segmentation": [[1, 2]]}, {"id": 2}]',
        '[{"segmentation": [[1, 2]]}, {"segmentation": [3, 4]}]',
        '[{"segmentation": [[1, 2]]}, "segmentation"]',
        '[{"segmentation": [[1, 2]]}, 5]',
        '[{"id": 1}]',
        "[]",
    ],
)
def test_other_mentions_of_a_segmentation(text: str):
    assert read_outlines(text.encode()) == (json.loads(text), None)


CHARACTERS = [*'0123456789.,-[] "', ""]
WHOLE = f"[{entry('[[5.25, -6],[7,8.1]]')}, {entry('[[9, 10.5, 0.5]]')}]"


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.sampled_from(CHARACTERS)), max_size=3))
def test_a_damaged_text_is_never_read_as_something_else(changes: list[tuple[int, str]]):
    characters = list(WHOLE)
    for place, character in changes:
        characters[place] = character
    text = "".join(characters)
    try:
        expected = from_json(text)
    except ValueError:
        with pytest.raises(ValueError):
            read_outlines(text.encode())
        return
    assert read_outlines(text.encode()) == (expected, None) or read(text) == expected
