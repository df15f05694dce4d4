"""One spelling for many: Windows', the web's, the Mac's, and letters in capitals."""

import os
import unicodedata
from pathlib import Path

import pytest

from foundation.errors import UserError
from pictures.decoding import read_file
from pictures.file_names import find_file, fitting_files

NFC, NFD = (unicodedata.normalize(form, "café.jpg") for form in ("NFC", "NFD"))


def place(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.fsencode(name))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("sub\\a.jpg", "sub/a.jpg"),
        (".\\sub\\deep\\a.jpg", "sub/deep/a.jpg"),
        ("..\\images\\a.jpg", "a.jpg"),
        ("a%20b.jpg", "a b.jpg"),
        ("a%2520b.jpg", "a b.jpg"),
        ("a b.jpg", "a%20b.jpg"),
        ("sub%2Fa.jpg", "sub/a.jpg"),
        ("sub%5Ca.jpg", "sub/a.jpg"),
        (NFC, NFD),
        (NFD, NFC),
        ("caf%C3%A9.jpg", NFD),
        ("a.jpg", "a.JPG"),
        ("Sub/A.jpg", "sUB/a.jpg"),
        ("STRASSE.jpg", "straße.jpg"),
        ("SUB\\A%20B.JPG", "sub/a b.jpg"),
        ("sub/a.jpg", "sub\\a.jpg"),  # unpacked by a program that knows no backslash
        ("caf\udce9.jpg", "caf%E9.jpg"),  # a byte of Latin-1
    ],
)
def test_a_name_finds_the_file_whose_spelling_alone_differs(tmp_path: Path, name: str, file: str):
    folder = tmp_path / "images"
    place(folder, file, "other.jpg")
    assert os.path.samefile(find_file(folder, name), folder / file)


def test_the_very_name_comes_first_and_of_several_none_is_guessed(tmp_path: Path):
    place(tmp_path, "A.JPG", "a.Jpg", "b.jpg", "B.jpg", "c d.jpg", "C D.jpg")
    assert find_file(tmp_path, "b.jpg") == tmp_path / "b.jpg"
    assert find_file(tmp_path, "c%20d.jpg") == tmp_path / "c d.jpg"  # as it is written, but for the web
    assert find_file(tmp_path, "a.jpg") == tmp_path / "a.jpg" and not (tmp_path / "a.jpg").exists()
    assert fitting_files(tmp_path, "a.jpg") == [tmp_path / "A.JPG", tmp_path / "a.Jpg"]
    with pytest.raises(
        UserError, match=r"a\.jpg: no such picture \(A\.JPG and a\.Jpg both differ in spelling"
    ):
        read_file(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "name", ["a.png", "", ".", "sub", "x\0y", "n" * 300, "%ZZ%", "..\\..\\..\\nowhere\\a.jpg"]
)
def test_nothing_else_is_found(tmp_path: Path, name: str):
    place(tmp_path, "a.jpg", "sub/a.jpg")
    assert fitting_files(tmp_path, name) == [] and find_file(tmp_path, name) == tmp_path / name
    assert fitting_files(tmp_path / "none", "a.jpg") == []


def test_a_folder_is_no_file_and_a_new_file_is_seen(tmp_path: Path):
    (tmp_path / "A.jpg").mkdir()
    assert fitting_files(tmp_path, "a.jpg") == []
    place(tmp_path, "a.JPG")
    os.utime(tmp_path, ns=(1, 1))  # two changes can fall into one tick of a coarse clock
    assert find_file(tmp_path, "a.jpg") == tmp_path / "a.JPG"
