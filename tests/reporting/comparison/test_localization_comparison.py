"""Localizers side by side: errors of the same pictures, with and without a classifier's guesses."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from detection.localization.localization_result import JudgedPictures
from reporting.comparison.localization_comparison import compare_localizers
from reporting.localization_story import LocalizationRun

IDS = [str(number) for number in range(40)]


def localizer(name: str, wrong: int, top5: int | None = None, **changes: object) -> LocalizationRun:
    """Wrong in the first pictures, so many of 40."""
    counts = {"oracle_error": wrong} | ({} if top5 is None else {"top5_error": top5})
    flags = {key: np.arange(40) < number for key, number in counts.items()}
    pictures = JudgedPictures(IDS, ["cat"], [1] * 40, "set", flags)
    pictures = replace(pictures, **changes)
    return LocalizationRun(name, None, (), pictures.scores, {"oracle_error": (0.1, 0.9)}, pictures)


def test_errors_with_the_true_class_and_of_five_guesses(rows: Callable):
    a, b, c = localizer("A", 12, 20), localizer("B", 1, 19), localizer("C", 12)
    sections = compare_localizers([a, b, c], 500)
    assert rows(sections, "Side by side") == [
        ["A", "30.0 (10.0 to 90.0)", "", "50.0"],
        ["B", "2.5 (10.0 to 90.0)", "−27.5", "47.5"],
        ["C", "30.0 (10.0 to 90.0)", "+0.0", "–"],
    ]
    oracle = rows(sections, "Paired differences")
    assert [(row[0], row[2]) for row in oracle] == [("B less A", "*"), ("C less A", ""), ("C less B", "*")]
    assert oracle[0][1].startswith("−27.5 (")
    # 11 pictures that only A gets wrong: p = 2 / 2^11.
    assert rows(sections, "Paired differences", 1)[0] == ["B less A", "0", "11", "0.00098"]
    # Of five guesses only two know; one picture decides nothing.
    ((pair, text, star, _),) = rows(sections, "Paired differences", 2)
    assert (pair, star) == ("B less A", "") and text.startswith("−2.5 (")
    assert rows(sections, "Paired differences", 3) == [["B less A", "0", "1", "1"]]


def test_what_is_not_compared(rows: Callable, texts: Callable):
    a = localizer("A", 12)
    others = [
        localizer("set", 12, fingerprint="moved"),
        localizer("ids", 12, ids=IDS[::-1]),
        localizer("labels", 12, labels=[1] * 39 + [2]),
        localizer("names", 12, classes=["dog"]),
    ]
    silent = replace(a, name="silent", pictures=None)
    sections = compare_localizers([a, *others, silent], 9)
    said = texts(sections)
    for name in ("set", "ids", "labels", "names"):
        assert (
            f"A and {name} are not compared: they were scored on different pictures, annotations or" in said
        )
    assert "A and silent are not compared: of silent nothing is known of single pictures, as its own" in said
    assert [row[2] for row in rows(sections, "Side by side")] == ["", "", "", "", "", "+0.0"]
