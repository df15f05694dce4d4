from collections.abc import Callable
from pathlib import Path

import pytest

from detection.layouts.picture_places import locate_pictures, pictures_below, subfolder
from foundation.errors import UserError


def test_pictures_below_a_folder_by_name(place: Callable):
    root = place({"b.jpg": None, "a/c.PNG": None, "a/notes.txt": "", ".hidden/d.jpg": None})
    assert [path.relative_to(root).as_posix() for path in pictures_below(root)] == ["a/c.PNG", "b.jpg"]


def test_subfolders_in_capitals(place: Callable):
    root = place({"Images/a.jpg": None, "labels": "a file"})
    assert subfolder(root, "labels", "images") == root / "Images"
    assert subfolder(root, "labels") is None


def test_the_folder_that_has_most_pictures(place: Callable):
    root = place({"one/a.jpg": None, "two/a.jpg": None, "two/b.jpg": None})
    folders = [root / "none", root / "one", root / "two"]
    assert locate_pictures(["a.jpg", "b.jpg", "c.jpg"], folders, "x")[0] == root / "two"
    assert locate_pictures(["far/a.jpg"], folders, "x") == (root / "one", ["a.jpg"])
    assert locate_pictures([], [Path("there")], "x") == (Path("there"), [])
    with pytest.raises(
        UserError, match=r"x: none of its 1 picture was found, for instance 'd\.jpg'; looked in"
    ):
        locate_pictures(["d.jpg"], folders, "x")
