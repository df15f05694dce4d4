"""Names in pictures and charts: in any script that an installed font has, joined and in their direction.

matplotlib draws the letters, in drawn pictures too: since 3.11 it shapes scripts by itself, whereas Pillow
joins Arabic letters only where FriBiDi is installed. Its own font has Latin, Cyrillic, Greek, Hebrew and
Arabic letters. The fonts of the system are looked at only when a text needs more.
"""

import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foundation.file_naming import printable

OWN_FONT = "DejaVu Sans"  # comes with matplotlib
# Fonts that have a sign of their own for every character, but no letters, or letters in colours only.
NO_LETTERS = ("Last Resort", "LastResort", "Emoji", "Blank")


class Face(NamedTuple):
    """A font of the system: the name of its family, its file, and its place in the file."""

    family: str
    file: str
    place: int


def legible(text: str) -> str:
    """The text in one line, as `printable` gives it, with characters that no font has escaped as Python does.

    Accents that follow their letters, as in names of files on macOS, become one character with them.
    """
    text = printable(unicodedata.normalize("NFC", text), keep="")
    return "".join(c if has_letter(c) else ascii(c)[1:-1] for c in text)


def has_letter(character: str) -> bool:
    """Whether an installed font has this character."""
    return ord(character) in _own_characters() or ord(character) in system_faces()


def chart_fonts(texts: Iterable[str]) -> list[str]:
    """Families for matplotlib's `font.family` whose fonts together have all that is legible in the texts."""
    return [OWN_FONT, *dict.fromkeys(face.family for text in texts for face in _further_faces(text))]


def font_for(text: str, size: float) -> Any:
    """matplotlib's font for a legible text, with others for what it lacks; an em has `size` pixels."""
    from matplotlib.ft2font import FT2Font  # only here: most that import this module draw nothing

    if faces := _further_faces(text):
        from matplotlib.font_manager import FontPath, get_font

        font = get_font([FontPath(_own_file(), 0), *(FontPath(face.file, face.place) for face in faces)])
    else:
        font = FT2Font(_own_file())
    font.set_size(size, 72)
    return font


def text_mask(text: str, size: float) -> NDArray[np.uint8]:
    """How much of each pixel the letters of a text cover, (H, W) from 0 to 255, cut to the letters.

    Args:
        size: pixels of an em, more than 0.
    """
    text = legible(text)
    if not text.strip():
        return np.zeros((1, 1), dtype=np.uint8)
    font = font_for(text, size)
    font.set_text(text, 0.0)
    font.draw_glyphs_to_bitmap(antialiased=True)
    mask = np.array(font.get_image())
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _further_faces(text: str) -> list[Face]:
    """Of what the characters beyond matplotlib's own font are taken; none where no font has them."""
    own = _own_characters()
    further = [ord(c) for c in unicodedata.normalize("NFC", text) if c.isprintable() and ord(c) not in own]
    return list(dict.fromkeys(system_faces()[code] for code in further if code in system_faces()))


def _own_file() -> str:
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


@cache
def _own_characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(_own_file()).get_charmap())


@cache
def system_faces() -> dict[int, Face]:
    """Which upright font of the system draws a character, by the character's number; found once a process."""
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font

    plain = [
        font for font in fontManager.ttflist if font.style == "normal" and font.weight in (400, "normal")
    ]
    faces: dict[int, Face] = {}
    for font in sorted(plain, key=lambda font: (_rank(font.name), font.fname, font.index)):
        if font.name.startswith(".") or any(word in font.name for word in NO_LETTERS):
            continue
        face = Face(font.name, font.fname, font.index)
        try:
            characters = FT2Font(face.file, face_index=face.place).get_charmap()
        except (OSError, RuntimeError):  # removed or replaced since matplotlib made its list
            continue
        for code in characters:
            faces.setdefault(code, face)
    return faces


def _rank(family: str) -> tuple[bool, bool, bool, str]:
    """Fonts without serifs first, as in all charts; simplified before other forms of Chinese characters."""
    return "Sans" not in family, "Mono" in family, not family.endswith(" SC"), family
