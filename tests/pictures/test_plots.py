"""Charts are written whole, repeat to the byte, and show names as they are."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from pictures import lettering
from pictures.plots import chart_label, new_axes, save_plot


def test_panels_and_their_size():
    figure, axes = new_axes(2, 3, size=(4, 2), sharey=True)
    assert axes.shape == (2, 3)
    assert figure.get_size_inches().tolist() == [12, 4]


def test_equal_figures_have_equal_bytes(tmp_path: Path):
    files = []
    for name in ("one", "other"):
        figure, axes = new_axes(1, 1)
        axes[0, 0].plot([1, 2, 3], label="loss")
        files.append(save_plot(figure, tmp_path / name))
    assert [file.name for file in files[0]] == ["one.png", "one.svg"]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def test_only_the_formats_asked_for(tmp_path: Path):
    figure, _ = new_axes(1, 1)
    assert save_plot(figure, tmp_path / "a", ["png"]) == [tmp_path / "a.png"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["$x$ und $y$", "a$b", r"a\$b$c$", "$", "$$"])
def test_no_name_is_a_formula(name: str):
    label = chart_label(name)
    figure, axes = new_axes(1, 1)
    shown, is_formula = axes[0, 0].set_title(label)._preprocess_math(label)
    assert (shown, is_formula) == (name, False)


def test_long_names_have_several_lines():
    assert chart_label("one two $three\n four", 8) == "one two\n\\$three\\n\nfour"
    assert chart_label("abcdefgh", 4) == "abcd\nefgh" and chart_label("", 4) == ""


def test_names_with_an_underscore_stand_in_the_legend():
    _, axes = new_axes(1, 1)
    for name in ("_hidden", "shown_"):
        axes[0, 0].plot([1, 2], label=chart_label(name))
    texts = [text.get_text() for text in axes[0, 0].legend().get_texts()]
    assert texts == ["\u200b_hidden", "shown_"]


def test_names_in_many_scripts_are_drawn_without_a_missing_letter(tmp_path: Path):
    names = ["Größe", "кошка", "قطة", "猫", "แมว", "_a$b$", "\x1b[1m"]
    figure, axes = new_axes(1, 2)
    axes[0, 0].bar(range(len(names)), 1, label=chart_label("猫 und кошка"))
    axes[0, 0].set_xticks(range(len(names)), [chart_label(name) for name in names])
    axes[0, 0].legend()
    axes[0, 1].imshow(np.eye(len(names)))
    axes[0, 1].set_yticks(range(len(names)), [chart_label(name) for name in names])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # matplotlib warns of glyphs that are missing
        save_plot(figure, tmp_path / "names")


def test_names_without_a_font_are_escaped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(lettering, "system_faces", dict)
    assert chart_label("猫$") == r"\u732b\$"
