"""The confusion matrix as a table, normalised by hand, and drawn."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection.charts import confusion_chart
from detection.charts.confusion_chart import draw_confusion, normalised, write_confusion
from pictures.plots import save_plot

# Rows truth, columns predictions, the background last; there is no cow.
CONFUSION = [[3, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0], [3, 0, 1, 0]]
FOUND = {"classes": ["ape", "bee", "cow"], "confusion": CONFUSION, "least_score": 0.5}


def test_shares_of_the_truth():
    shares = normalised(CONFUSION)
    assert shares[0].tolist() == [3 / 4, 0, 0, 1 / 4] and shares[1].tolist() == [1 / 2, 0, 0, 1 / 2]
    assert np.isnan(shares[2]).all()
    assert shares[3].tolist() == [3 / 4, 0, 1 / 4, 0]


def test_the_table(tmp_path: Path):
    write_confusion(FOUND, tmp_path / "confusion.csv")
    with (tmp_path / "confusion.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["truth \\ prediction", "ape", "bee", "cow", "background"]
    assert rows[2] == ["bee", "1", "0", "0", "1"] and len(rows) == 5


def test_names_that_are_no_plain_text(tmp_path: Path):
    write_confusion({"classes": ["\x1b[2J", "b\n"], "confusion": [[0] * 3] * 3}, tmp_path / "c.csv")
    lines = (tmp_path / "c.csv").read_text().splitlines()
    assert lines[0] == "truth \\ prediction,\\x1b[2J,b\\n,background" and len(lines) == 4


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is drawn, as matplotlib's figures."""
    kept: list[Any] = []

    def keep(figure: Any, *arguments: Any) -> list[Path]:
        kept.append(figure)
        return save_plot(figure, *arguments)

    monkeypatch.setattr(confusion_chart, "save_plot", keep)
    return kept


def test_pictures_of_counts_and_shares(tmp_path: Path, figures: list[Any]):
    draw_confusion(FOUND, tmp_path / "confusion")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["confusion.png", "confusion_normalised.png"]
    counts, shares = (figure.axes[0] for figure in figures)
    assert [text.get_text() for text in counts.texts] == ["3", "1", "1", "1", "3", "1"]
    assert [text.get_text() for text in shares.texts] == ["75", "25", "50", "50", "75", "25"]
    for axis in (counts, shares):
        for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
            assert [label.get_text() for label in labels] == ["ape", "bee", "cow", "background"]


@pytest.mark.parametrize("classes", [0, 1, 80])
def test_of_any_number_of_classes(tmp_path: Path, figures: list[Any], classes: int):
    counts = np.zeros((classes + 1, classes + 1), dtype=int)
    counts[0, -1], counts[-1, 0] = 123456, 7
    names = [f"a $name$ much longer than {number}" for number in range(classes)]
    found = {"classes": names, "confusion": counts.tolist(), "least_score": 0.5}
    draw_confusion(found, tmp_path / "confusion")
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.width < 2600
    written = {text.get_text() for text in figures[0].axes[0].texts}
    # Six digits have no room in a cell of eighty.
    assert written == {0: {"7"}, 1: {"123456", "7"}, 80: {"7"}}[classes]
