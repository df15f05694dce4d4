import os
from pathlib import Path

import pytest

from foundation.file_naming import LONGEST_NAME, OutputNames, portable_name, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b\tc\nd …é", "a b\tc\nd …é"),
        ("\x1b[2Jx.png", "\\x1b[2Jx.png"),
        ("a\rb\x07\x9bc", "a\\rb\\x07\\x9bc"),  # 0x9b begins sequences too
        ("x\u202egnp.exe", "x\\u202egnp.exe"),  # shown from right to left otherwise
        ("\udcff.png", "\\udcff.png"),  # of a name that is no UTF-8; no terminal can show it
        ("", ""),
    ],
)
def test_what_moves_or_hides_text_is_escaped(text: str, shown: str):
    assert printable(text) == shown


def test_one_line_has_no_breaks_either():
    assert printable("a\nb\t", keep="") == "a\\nb\\t"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("traffic light", "traffic light.png"),
        ("../../etc/passwd", "..-..-etc-passwd.png"),
        ("a\\b", "a-b.png"),
        ("\x1b[2J\n\0\udcff", "-[2J---.png"),
        ("..", "_...png"),
        ("", "_.png"),
        ("con", "_con.png"),
        ("Lpt1.x", "_Lpt1.x.png"),
        ("console", "console.png"),
    ],
)
def test_names_are_one_part_of_a_path(tmp_path: Path, text: str, name: str):
    assert portable_name(text, ".png") == name
    (tmp_path / name).write_bytes(b"")


@pytest.mark.parametrize("letter", ["a", "é", "字", "🙂"])
def test_long_names_are_cut_between_letters(letter: str):
    name = portable_name(letter * 300, ".png")
    assert name.strip(letter) == ".png"
    assert LONGEST_NAME - len(letter.encode()) < len(os.fsencode(name)) <= LONGEST_NAME


def test_everything_lies_below_the_folder(tmp_path: Path):
    names = OutputNames(tmp_path)
    places = [names.place(name, ".png") for name in ("/etc/x", "../../x", "a/../b/./c", "..", "", "//n/x")]
    assert [str(place.relative_to(tmp_path)) for place in places] == [
        *("etc/x.png", "x.png", "a/b/c.png", "_.png", "_~2.png", "n/x.png")
    ]


def test_no_two_files_are_the_same(tmp_path: Path):
    names = OutputNames(tmp_path, ["predictions.json"])
    wanted = ["a", "A", "a", "a.png/b", "a.png/c", "a\x1b", "a\x07", "é", "e\u0301"]
    wanted += ["predictions.json/d", "x" * 300, "x" * 301]
    places = [names.place(name, ".png") for name in wanted]
    shown = [str(place.relative_to(tmp_path)) for place in places]
    assert shown[:6] == ["a.png", "A~2.png", "a~3.png", "a.png~2/b.png", "a.png~2/c.png", "a-.png"]
    assert shown[6:10] == ["a-~2.png", "é.png", "e\u0301~2.png", "predictions.json~2/d.png"]
    assert shown[11].endswith("x~2.png") and len(set(shown)) == len(shown)
