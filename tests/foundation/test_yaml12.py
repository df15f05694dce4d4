import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from foundation.yaml12 import read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("TRUE", True),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("Off", "Off"), ("y", "y"),
        ("null", None), ("~", None), ("", None), ("Null", None), ("none", "none"),
        ("1e-4", 1e-4), ("1E5", 1e5), ("1.", 1.0), (".5", 0.5), ("-2.5e+3", -2500.0), ("+.inf", math.inf),
        ("-.inf", -math.inf), (".Inf", math.inf), ("-.INF", -math.inf), ("inf", "inf"), ("nan", "nan"),
        ("10", 10), ("-3", -3), ("+3", 3), ("010", 10), ("08", 8), ("0x1F", "0x1F"), ("0o17", "0o17"),
        ("1_000", "1_000"), ("12:30", "12:30"), ("2017-03-04", "2017-03-04"),
        ("2007:trainval", "2007:trainval"), ("2007_train", "2007_train"), (".", "."), ("-", [None]),
        ("e5", "e5"), ("=", "="), ("'10'", "10"), ('"true"', "true"), ("[1, 1e3, no]", [1, 1000.0, "no"]),
        ("{a: {b: 0.1}}", {"a": {"b": 0.1}}),
    ],
)  # fmt: skip
def test_plain_scalars(text: str, value: Any):
    got = read_yaml(text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number(text: str):
    assert math.isnan(read_yaml(text))


@pytest.mark.parametrize(
    "text", ["a: 1\nb: 2\na: 3", "x:\n  a: 1\n  a: 1", "{a: 1, a: 2}", "- {a: 1, 'a': 2}"]
)
def test_repeated_keys_are_refused(text: str):
    with pytest.raises(yaml.YAMLError, match=r"(?s)key 'a' is repeated.*line \d"):
        read_yaml(text)


def test_the_same_key_in_different_sections():
    assert read_yaml("x: {lr: 1}\ny: {lr: 2}\nlr: 3") == {"x": {"lr": 1}, "y": {"lr": 2}, "lr": 3}


def test_merged_keys_may_be_overridden():
    # `inner` overrides x of what it merges, and is itself merged: nobody repeated a key.
    text = "one: &one {x: 1, z: 0}\nouter: {inner: &two {<<: *one, x: 2}}\nthree: {<<: *two, y: 3}"
    merged = {"x": 2, "z": 0}
    assert read_yaml(text) == {
        "one": {"x": 1, "z": 0},
        "outer": {"inner": merged},
        "three": {**merged, "y": 3},
    }


@pytest.mark.parametrize(
    "text", ["a: [1", "a: b: c", "? [a, b]\n: c", "a: *missing", "a: !!python/name:os.system"]
)
def test_other_mistakes_are_yaml_errors(text: str):
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


def test_nothing_is_built_from_tags():
    with pytest.raises(yaml.YAMLError, match="could not determine a constructor"):
        read_yaml("!!python/object/apply:os.getcwd []")


def test_written_text():
    assert write_yaml({"b": 1e-4, "a": None, "c": ["no", "010", 10], "d": True, "e": "ü"}) == (
        "b: 0.0001\na: null\nc:\n- no\n- '010'\n- 10\nd: true\ne: ü\n"
    )


@pytest.mark.parametrize("text", ["\x85", "a\u2028b", "\u2029", "\ufeff", "a\nb", "\t", "ü\x85: no"])
def test_line_breaks_and_blanks_read_back_equal(text: str):
    assert read_yaml(write_yaml({text: [text]})) == {text: [text]}


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
WORDS = st.sampled_from(
    ["no", "1e-4", "010", "12:30", "~", "", ".inf", ".INF", "<<", "true", "-", "a: b", "#", "1_0"]
)


@given(
    st.recursive(
        SCALARS | WORDS,
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | WORDS, inner),
        max_leaves=8,
    )
)
def test_what_is_written_reads_back_equal(data: Any):
    assert read_yaml(write_yaml(data)) == data


def test_aliases_cost_no_more_than_a_bound():
    laughs = "\n".join(
        ["a0: &a0 [1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))]
    )
    with pytest.raises(yaml.YAMLError, match=r"(?s)written out this holds more than 100,000 values.*line \d"):
        read_yaml(laughs)
    merged = [
        "a0: &a0 {k: 1}",
        *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 10)),
    ]
    with pytest.raises(yaml.YAMLError, match="more than 100,000 values"):
        read_yaml("\n".join(merged))
    with pytest.raises(yaml.YAMLError, match="an alias stands for what it is part of"):
        read_yaml("a: &a [*a]")
    assert read_yaml("a: &a [1, 2]\nb: *a\nc: {d: *a}") == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}


def test_nesting_and_digits_without_end():
    with pytest.raises(yaml.YAMLError, match="too many levels of lists and mappings"):
        read_yaml("[" * 10_000)
    with pytest.raises(yaml.YAMLError, match="a number of 5000 digits"):
        read_yaml("a: " + "9" * 5000)
    assert read_yaml("9" * 30) == 10**30 - 1
