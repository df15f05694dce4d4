"""Lines of the archives' text files, and what is noted of those of other forms."""

from pathlib import Path

import pytest

from detection.data.annotations import Problem
from detection.imagenet.devkit_rows import read_names, read_rows, whole_number


def test_lines_and_columns(tmp_path: Path):
    file, problems = tmp_path / "map.txt", list[Problem]()
    file.write_text("n01 1 dog house\n\n  n02   2 cat\nn03 3\n")
    rows = read_rows(file, "a class", (3,), problems)
    assert [row.columns for row in rows] == [["n01", "1", "dog house"], ["n02", "2", "cat"]]
    assert rows[1].where == f"{file}, line 3"
    (problem,) = problems
    assert str(problem.error("")) == f"{file}, line 4: 'n03 3' is not a class; correct the line"


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path):
    problems: list[Problem] = []
    assert read_rows(tmp_path / "map.txt", "a class", (3,), problems) == []
    (tmp_path / "map.txt").write_bytes(b"\xff\xfe\xfa")
    assert read_rows(tmp_path / "map.txt", "a class", (3,), problems) == []
    missing, damaged = (str(problem.error("")) for problem in problems)
    assert missing.startswith(
        f"{tmp_path / 'map.txt'}: no such file; expected a class in each line, as in ILSVRC"
    )
    assert "is no text in utf-8" in damaged


@pytest.mark.parametrize("name", ["/etc/a", "../a", "b/../../a"])
def test_names_that_lead_elsewhere(tmp_path: Path, name: str):
    file, problems = tmp_path / "val.txt", list[Problem]()
    file.write_text(f"v1\n{name} 2\nv3 3\n")
    assert [row.columns for row in read_names(file, "a name", problems)] == [["v1"], ["v3", "3"]]
    assert [problem.text for problem in problems] == [f"{name!r} lies elsewhere; expected a name"]


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("0", 0), ("-1", None), ("1.0", None), ("٣", None)])
def test_whole_numbers(text: str, number: int | None):
    assert whole_number(text) == number
