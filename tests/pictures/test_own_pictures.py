"""Pictures of one's own listed, and what a command says before and after it looks at them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from foundation.errors import UserError
from pictures.own_pictures import check_answers_folder, list_pictures, report_unread


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """b.JPG, below/a.png, and things that are no pictures."""
    (tmp_path / "below").mkdir()
    (tmp_path / "album.jpg").mkdir()
    Image.new("RGB", (5, 3)).save(tmp_path / "b.JPG")
    Image.new("L", (2, 4)).save(tmp_path / "below" / "a.png")
    (tmp_path / "notes.txt").write_text("none")
    return tmp_path


def names(paths: Path | Sequence[Path]) -> list[str]:
    return [picture.name for picture in list_pictures(paths)]


def test_limit(folder: Path):
    assert [picture.name for picture in list_pictures(folder, limit=1)] == ["b.JPG"]


def test_names_of_several_places_tell_them_apart(folder: Path):
    Image.new("RGB", (1, 1)).save(folder / "below" / "b.JPG")
    paths = [folder / "below" / "b.JPG", folder / "b.JPG", folder / "below"]
    assert names(paths) == ["below/b.JPG", "b.JPG", "below/a.png"]
    assert names(paths[::2]) == ["b.JPG", "a.png"]
    with pytest.raises(UserError, match="no picture was given"):
        list_pictures([])


def test_nothing_there(tmp_path: Path):
    with pytest.raises(UserError, match=r"away does not exist; expected a picture or a folder of .*\.jpg"):
        list_pictures(tmp_path / "away")
    with pytest.raises(UserError, match="holds no picture"):
        list_pictures(tmp_path)


def test_no_name_leads_out_of_the_folder_that_holds_all(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "cwd").mkdir()
    monkeypatch.chdir(folder / "cwd")
    above = list_pictures([Path("../below/a.png"), Path("../b.JPG")])
    assert above == [(Path("../below/a.png"), "below/a.png"), (Path("../b.JPG"), "b.JPG")]
    assert names([Path("../below"), Path("../below/../below/a.png")]) == ["a.png"]


def test_droppings_are_passed_over_and_other_suffixes_counted(folder: Path, caplog: pytest.LogCaptureFixture):
    (folder / "._b.JPG").write_bytes(b"resource fork")
    for name in (".ipynb_checkpoints", "__MACOSX"):
        (folder / "below" / name).mkdir()
        (folder / "below" / name / "a-checkpoint.png").write_bytes((folder / "below" / "a.png").read_bytes())
    (folder / "c.gif").write_bytes(b"GIF89a")
    assert names(folder) == ["b.JPG", "below/a.png"]
    assert f"{folder}: 2 files left out, no pictures by their suffix: 1 .gif, 1 .txt" in caplog.text
    hidden = folder.rename(folder.parent / ".hidden")  # the folder that is named may be hidden
    assert names(hidden) == ["b.JPG", "below/a.png"]


def test_the_folder_for_drawings_is_not_searched(folder: Path):
    listed = list_pictures(folder, leave_out=folder / "below")
    assert listed == [(folder / "b.JPG", "b.JPG")]
    with pytest.raises(UserError, match=r"holds no picture outside .*below"):
        list_pictures(folder / "below", leave_out=folder / "below")


def test_a_folder_in_use_is_refused(folder: Path):
    check_answers_folder(folder, limit=1, overwrite=True)
    check_answers_folder(folder / "album.jpg", limit=None, overwrite=False)  # it is empty
    for out, limit, message in (
        (folder, None, "is not empty; choose another --out, or pass --overwrite"),
        (folder / "notes.txt", None, "notes.txt is a file, expected a folder"),
        (folder / "new", 0, "--limit must be 1 or more, got 0"),
    ):
        with pytest.raises(UserError, match=message):
            check_answers_folder(out, limit=limit, overwrite=False)


def test_what_was_not_read_ends_the_command():
    report_unread([])
    with pytest.raises(UserError) as refused:
        report_unread([f"{number}.jpg is damaged" for number in range(30)])
    lines = str(refused.value).splitlines()
    assert lines[0] == "30 pictures could not be read; the others are done:"
    assert lines[1] == "  0.jpg is damaged" and len(lines) == 21
