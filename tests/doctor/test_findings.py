"""The table and the JSON of what was found."""

import json

from doctor.findings import CHECKS, as_json, find, is_clean, table

FOUND = [
    find("tiny_box", "annotation 1", "small"),
    find("malformed_box", "annotation 2", "no  numbers\nat all"),
    find("tiny_box", "annotation 3", "small"),
    find("tiny_box", "annotation 4", "small"),
    find("outside_box", "x" * 80, "y" * 200, "error"),
]


def test_a_finding_has_its_checks_severity_unless_another_is_given():
    assert [f.severity for f in FOUND] == ["note", "error", "note", "note", "error"]
    assert CHECKS["outside_box"] == "warning"


def test_the_table_begins_with_the_worst_and_shows_examples():
    rows = table(FOUND).splitlines()
    assert [row.split()[:3] for row in rows if row[0] != " "] == [
        ["severity", "check", "count"],
        ["error", "malformed_box", "1"],
        ["error", "outside_box", "1"],
        ["note", "tiny_box", "3"],
    ]
    assert "annotation 2: no numbers at all" in rows[1]
    assert f"…{'x' * 49}: {'y' * 99}…" in rows[2]
    # Two examples of three.
    assert rows[3].endswith("annotation 1: small") and rows[4].strip() == "annotation 3: small"


def test_only_notes_are_clean():
    assert is_clean([]) and is_clean(FOUND[:1]) and not is_clean(FOUND)
    assert not is_clean([find("empty_box", "a", "b")])


def test_json():
    written = json.loads(json.dumps(as_json(FOUND)))
    assert written["counts"] == {"error": 2, "warning": 0, "note": 3} and not written["clean"]
    expected = {"check": "tiny_box", "where": "annotation 1", "detail": "small", "severity": "note"}
    assert written["findings"][0] == expected


def test_rows_stay_rows_and_hold_no_control_characters():
    rows = table([find("tiny_box", "a\nb\x1b[2J", "c\x07 \x9b")]).splitlines()
    assert len(rows) == 2 and rows[1].endswith("a\\nb\\x1b[2J: c\\x07 \\x9b")
