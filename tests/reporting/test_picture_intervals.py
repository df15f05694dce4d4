"""Single pictures of a folder: found, missing, damaged, of another evaluation; and figures with intervals."""

from pathlib import Path

import numpy as np
import pytest

from detection.localization.localization_result import JudgedPictures, load_judged_pictures
from reporting.page.page_parts import Note, Table
from reporting.picture_intervals import (
    Resampled,
    interval,
    kept_pictures,
    score_section,
    unknown_pictures,
)

WRONG = {"oracle_error": np.array([True, False, False, False])}
PICTURES = JudgedPictures(["a", "b", "c", "d"], ["cat"], [1] * 4, "set", WRONG)


def why(folder: Path, **scores: float | None) -> str:
    kept, (note,) = kept_pictures(folder, {"scores": scores}, load_judged_pictures, "eval_loc")
    assert kept is None
    return note.text


def test_pictures_of_the_result_are_kept(tmp_path: Path):
    PICTURES.save(tmp_path / "per_picture.npz")
    result = {"scores": {"oracle_error": 0.25, "whole_picture_error": 0.5}}
    kept, notes = kept_pictures(tmp_path, result, load_judged_pictures, "eval_loc")
    assert kept is not None and kept.ids == PICTURES.ids and notes == []


def test_why_nothing_is_known_of_them(tmp_path: Path):
    remedy = "tools/eval_loc.py --out DIR scores weights and writes one into DIR."
    nothing = "Of single pictures nothing is known: "
    assert why(tmp_path, oracle_error=0.25) == f"{nothing}there is no per_picture.npz in the folder; {remedy}"
    file = tmp_path / "per_picture.npz"
    PICTURES.save(file)
    for stated, said in ((0.5, "50.0"), (None, "–")):
        other = f"{file} gives oracle_error 25.0 %, not {said} % of the result: it is of another evaluation"
        assert why(tmp_path, oracle_error=stated) == f"{nothing}{other}; {remedy}"
    assert "is of another evaluation" in why(tmp_path)  # the result does not know this error at all
    file.write_bytes(b"nothing")
    assert f"{file}: is damaged or of another kind" in why(tmp_path, oracle_error=0.25)


def test_a_run_without_pictures_says_so():
    assert unknown_pictures("A", PICTURES) == ""
    assert unknown_pictures("A", None) == "of A nothing is known of single pictures, as its own part says"


def test_intervals_hold_the_middle_part():
    assert interval(np.arange(201) / 200) == pytest.approx((0.025, 0.975))
    assert interval(np.full(3, np.nan)) == (None, None)


def test_the_same_pictures():
    one = Resampled("set", {}, {}, ["a"], np.zeros(1), np.zeros((1, 2)))
    assert one.same_pictures(Resampled("set", {"x": 1.0}, {}, ["a"], np.ones(1), np.ones((1, 2))))
    assert not one.same_pictures(Resampled("moved", {}, {}, ["a"], np.zeros(1), np.zeros((1, 2))))
    assert not one.same_pictures(Resampled("set", {}, {}, ["b"], np.zeros(1), np.zeros((1, 2))))


def test_figures_say_what_they_are_of():
    result = {"scores": {"x": 0.5, "other": None}, "pictures": 1}
    section = score_section(result, {"x": "the x"}, {"x": (0.25, 1)}, [Note("and more")])
    table, note, more = section.parts
    assert isinstance(table, Table) and table.rows == [
        ["the x, %", "50.0 (25.0 to 100.0)"],
        ["other, %", "–"],
    ]
    assert (
        note.text.startswith("On 1 picture. Intervals, 95 %, are over the choice") and more.text == "and more"
    )
    assert len(score_section({"scores": {}}, {}, {}, []).parts) == 1  # of a run under way
