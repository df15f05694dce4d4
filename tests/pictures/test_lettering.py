"""Text in any script: which fonts draw it, and what is shown where none has its characters."""

import unicodedata
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from pictures import lettering
from pictures.lettering import Face, chart_fonts, font_for, has_letter, legible, system_faces, text_mask

OF_OWN_FONT = ["Größe", "кошка", "قطة", "חתול", "γάτα", "c$a_t", "<b>"]


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "system_faces", dict)


@pytest.fixture
def no_look_at_system_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> dict:
        raise AssertionError("the system's fonts were looked at")

    monkeypatch.setattr(lettering, "system_faces", fail)


@pytest.fixture
def script_letter(monkeypatch: pytest.MonkeyPatch) -> str:
    """A letter that of all fonts of a system a single one has: STIX, which comes with matplotlib."""
    letter = "\U0001d4d0"  # bold script A
    stix = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "STIXGeneral.ttf"
    monkeypatch.setattr(lettering, "system_faces", lambda: {ord(letter): Face("STIXGeneral", str(stix), 0)})
    return letter


@pytest.mark.parametrize("text", OF_OWN_FONT)
def test_letters_of_matplotlibs_own_font_need_no_other(text: str, no_look_at_system_fonts: None):
    assert legible(text) == text
    assert chart_fonts([text]) == ["DejaVu Sans"]
    assert text_mask(text, 20).max() > 200


def test_characters_without_a_font_stand_escaped(no_system_fonts: None):
    assert legible("猫 cat \U00020000") == "\\u732b cat \\U00020000"
    assert chart_fonts(["猫"]) == ["DejaVu Sans"]
    assert np.array_equal(text_mask("猫", 20), text_mask("\\u732b", 20))


def test_control_characters_stand_escaped_in_one_line(no_system_fonts: None):
    assert legible("a\nb\x1b[1m\u202e") == "a\\nb\\x1b[1m\\u202e"


def test_accents_after_their_letters_join_them(no_system_fonts: None):
    assert legible(unicodedata.normalize("NFD", "Größe й")) == "Größe й"


def test_a_system_font_fills_in_for_the_letters_it_alone_has(script_letter: str):
    text = f"{script_letter} cat"
    assert legible(text) == text and has_letter(script_letter)
    assert chart_fonts(["dog", text, text]) == ["DejaVu Sans", "STIXGeneral"]
    mask = text_mask(text, 40)
    assert mask.shape[1] > text_mask(" cat", 40).shape[1]
    # The letter's own shape, not the frame that stands for one that is missing.
    alone = text_mask(script_letter, 40)
    assert not np.array_equal(alone, text_mask("\U0001f9ff", 40)) and alone.max() > 200


def test_arabic_letters_join(no_look_at_system_fonts: None):
    # Joined, a word takes less room than its letters one by one.
    word = "قطة"
    apart = sum(text_mask(letter, 40).shape[1] for letter in word)
    assert text_mask(word, 40).shape[1] < 0.95 * apart


def test_arabic_runs_from_right_to_left(no_look_at_system_fonts: None):
    # The first letter, alef, is the only high one, and stands at the right.
    mask = text_mask("اس", 60) > 128
    high = mask[:6].any(axis=0).nonzero()[0]
    assert len(high) and high.min() > 0.85 * mask.shape[1]


@pytest.mark.parametrize("size", [8, 20, 64.5])
def test_letters_are_as_large_as_asked(size: float):
    # The letter H is 0.729 em high in DejaVu Sans.
    assert text_mask("H", size).shape[0] == pytest.approx(0.729 * size, abs=1.5)


@pytest.mark.parametrize("text", ["", " ", "  "])
def test_text_without_letters_is_one_empty_pixel(text: str):
    assert text_mask(text, 20).tolist() == [[0]]


def test_fonts_of_two_callers_do_not_share_their_size(script_letter: str):
    for text in ("cat", script_letter):
        before = text_mask(text, 20)
        font_for(text, 50)
        assert np.array_equal(text_mask(text, 20), before)


def test_this_systems_fonts_are_read():
    faces = system_faces()
    assert ord("A") in faces
    for face in set(faces.values()):
        assert Path(face.file).is_file() and "Last Resort" not in face.family
