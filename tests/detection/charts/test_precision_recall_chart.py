"""Envelopes worked by hand, and what the legend names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection.charts import precision_recall_chart
from detection.charts.precision_recall_chart import draw_precision_recall, envelopes
from detection.metrics.conventions import COCO50, VOC07, VOC12, ClassMatches, mean_of
from pictures.plots import save_plot

Drawn = Callable[..., Any]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Drawn:
    """Draws, and gives matplotlib's figure of which the file was made."""
    figures: list[Any] = []

    def kept(figure: Any, *arguments: Any) -> list[Path]:
        figures.append(figure)
        return save_plot(figure, *arguments)

    monkeypatch.setattr(precision_recall_chart, "save_plot", kept)

    def draw(*arguments: Any) -> Any:
        draw_precision_recall(*arguments, tmp_path / "curve")
        with Image.open(tmp_path / "curve.png") as picture:
            assert picture.format == "PNG" and np.ptp(np.asarray(picture.convert("L"))) > 100
        return figures[-1]

    return draw


def named(figure: Any) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_mean_of_the_envelopes(ape: ClassMatches, bee: ClassMatches):
    curves = envelopes([ape, bee], VOC12)
    # Apes: 3 of the first 3 up to a recall of 3/4, then nothing. Bees: 2/3 up to 1.
    assert curves[0].tolist() == [1] * 76 + [0] * 25
    assert curves[1].tolist() == [2 / 3] * 101
    assert envelopes([], VOC12).shape == (0, 101)


def test_its_mean_is_the_figure_of_coco(ape: ClassMatches, bee: ClassMatches):
    assert envelopes([ape, bee], COCO50).mean() == pytest.approx(mean_of([ape, bee], COCO50))


def test_the_legend_has_the_figures_ap(drawn: Drawn, ape: ClassMatches, bee: ClassMatches):
    # Area: apes 3/4, bees 2/3. Of 11 recalls apes reach 0 to 0.7, so 8/11 = 72.7 %.
    figure = drawn([ape, bee], VOC12, ["ape", "bee"])
    assert named(figure) == ["mean of 2 classes 70.8", "ape 75.0", "bee 66.7"]
    assert named(drawn([ape, bee], VOC07, ["ape", "bee"]))[1:] == ["ape 72.7", "bee 66.7"]
    bold = max(figure.axes[0].lines, key=lambda line: line.get_linewidth())
    assert bold.get_ydata()[0] == pytest.approx((1 + 2 / 3) / 2)


def test_of_eighty_classes_ten_are_named(drawn: Drawn, matches: Callable):
    classes = [matches(label, "+" * label + "-", [0.5] * (label + 1), 80) for label in range(1, 81)]
    figure = drawn(classes, VOC12, [f"class {label}" for label in range(1, 81)])
    labels = named(figure)
    assert (
        len(labels) == 12 and labels[0].startswith("mean of 80 classes") and labels[-1] == "70 other classes"
    )
    assert labels[1] == "class 80 100.0" and labels[-2].startswith("class 1 ")
    assert len(figure.axes[0].lines) == 82


def test_one_class_and_none(drawn: Drawn, ape: ClassMatches):
    assert named(drawn([ape], VOC12, ["a$b$"])) == [r"a\$b\$ 75.0"]  # no formula
    empty = drawn([], VOC12, ["ape"])
    assert named(empty) == [] and empty.axes[0].get_title().endswith("no class has an object")


def test_no_detections(drawn: Drawn, matches: Callable):
    assert named(drawn([matches(1, "", [], 3)], VOC12, ["ape"])) == ["ape 0.0"]
