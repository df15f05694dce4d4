"""Where VOC's pictures, annotations, lists and classes are found, however they are spelt."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.data.voc_dataset import VocDataset
from foundation.errors import UserError

TURNED = 6  # EXIF orientation: shown after a quarter turn to the right


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """The folder of a year, still empty."""
    (tmp_path / "VOC2007").mkdir()
    return tmp_path / "VOC2007"


def place(
    folder: Path,
    name: str,
    picture: str,
    *,
    filename: str = "",
    size: tuple[int, int] | None = (6, 4),
    box: tuple[int, int, int, int] = (1, 1, 3, 3),
    orientation: int = 1,
    label: str = "cat",
) -> None:
    """An annotation with one object, and its picture, 6 x 4 as stored unless it is turned: 90 x 60."""
    xml, exif = folder / "Annotations" / f"{name}.xml", Image.Exif()
    exif[0x0112] = orientation
    for path in (xml, folder / "JPEGImages" / picture, folder / "ImageSets" / "Main" / "x"):
        path.parent.mkdir(parents=True, exist_ok=True)
    stored = (60, 90) if orientation > 1 else (4, 6)
    Image.fromarray(np.zeros(stored, dtype=np.uint8)).save(folder / "JPEGImages" / picture, exif=exif)
    sides = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    node = f"<object><name>{label}</name><bndbox>{sides}</bndbox></object>"
    xml.write_text(f"<annotation><filename>{filename}</filename>{stated}{node}</annotation>")


def opened(folder: Path, text: str) -> VocDataset:
    (folder / "ImageSets" / "Main" / "train.txt").write_bytes(text.encode())
    return VocDataset(folder.parent, [(folder.name.removeprefix("VOC"), "train")])


@pytest.mark.parametrize(
    ("name", "picture", "filename"),
    [
        ("a", "a.jpg", ""),
        ("a", "a.png", "a.png"),
        ("a", "a.JPEG", "other.jpg"),  # labelImg keeps the name from before a picture was renamed
        ("a", "photo 1.png", "photo 1.png"),
        ("a", "photo 1.png", "photo%201.PNG"),
        ("a.b", "a.b.webp", ""),
        ("a", "A.JPG", ""),
    ],
)
def test_a_picture_is_found_by_suffix_spelling_or_filename(voc: Path, name: str, picture: str, filename: str):
    place(voc, name, picture, filename=filename)
    dataset = opened(voc, f"{name}\n")
    assert dataset.image_path(0) == voc / "JPEGImages" / picture and dataset.image_ids == [name]


def test_of_several_suffixes_the_annotation_chooses(voc: Path):
    place(voc, "a", "a.png")
    place(voc, "a", "a.webp", filename="a.webp")
    assert opened(voc, "a\n").image_path(0).name == "a.webp"
    place(voc, "a", "a.webp")  # which of both cannot be known
    assert opened(voc, "a\n").image_path(0) == voc / "JPEGImages" / "a.jpg"


def test_lists_may_have_a_mark_suffixes_and_names_with_spaces(voc: Path):
    for name in ("a", "b.c", "my cat", "d.jpg"):
        place(voc, name, f"{name}.jpg")
    text = "\ufeffa.jpg\r\nb.c.JPG\r\nmy cat\r\nd.jpg\r\n\r\n"
    dataset = opened(voc, text)
    assert dataset.image_ids == ["a", "b.c", "my cat", "d.jpg"]  # the last is called so without its suffix
    assert [target.labels.tolist() for target in dataset.targets] == [[8]] * 4


@pytest.mark.parametrize("line", ["a  1", "a -1", "JPEGImages/a.jpg SegmentationClass/a.png"])
def test_lists_of_several_columns_are_refused(voc: Path, line: str):
    place(voc, "a", "a.jpg")
    with pytest.raises(
        UserError, match="is the name of no picture, expected one in each line. Lists with more"
    ):
        opened(voc, f"{line}\n")


def test_an_annotation_is_found_by_its_spelling(voc: Path):
    place(voc, "Cafe\u0301", "Cafe\u0301.jpg")
    dataset = opened(voc, "caf\u00e9\n")
    assert len(dataset.targets[0].boxes) == 1 and dataset.image_path(0).is_file()


def test_without_a_size_that_of_the_file_counts(voc: Path):
    place(voc, "a", "a.png", size=None)
    assert opened(voc, "a\n").image_sizes == [(4, 6)]
    (voc / "JPEGImages" / "a.png").unlink()
    with pytest.raises(UserError, match=r"<size/height> is \'\'"):
        opened(voc, "a\n")


def test_own_classes_stand_in_a_file(tmp_path: Path):
    place(tmp_path / "VOC2007", "a", "a.jpg", label="helmet")
    place(tmp_path / "VOC2008", "b", "b.jpg", label="helmet")
    text = (
        r"'helmet' is not among the classes \(your own stand in classes.txt beside Annotations, one a line\)"
    )
    with pytest.raises(UserError, match=text):
        opened(tmp_path / "VOC2007", "a\n")
    (tmp_path / "VOC2007" / "classes.txt").write_text("vest\nhelmet\n", encoding="utf-8-sig")
    dataset = opened(tmp_path / "VOC2007", "a\n")
    assert dataset.classes == ["vest", "helmet"] and dataset.targets[0].labels.tolist() == [2]
    (tmp_path / "VOC2008" / "ImageSets" / "Main" / "train.txt").write_text("b\n")
    both = [(year, "train") for year in ("2007", "2008")]
    with pytest.raises(
        UserError, match=r"2007:train and 2008:train have different classes.*the same classes\.txt"
    ):
        VocDataset(tmp_path, both)
    (tmp_path / "VOC2007" / "classes.txt").write_text("vest\nvest\n")
    with pytest.raises(UserError, match="holds 2 lines, expected one class a line, each once"):
        VocDataset(tmp_path, both)


@pytest.mark.parametrize("box", [(10, 70, 30, 85), (10, 50, 30, 85)], ids=["outside", "crossing"])
def test_boxes_that_fit_only_the_turned_picture_are_refused(voc: Path, box: tuple):
    place(voc, "a", "a.jpg", size=(90, 60), box=box, orientation=TURNED)
    with pytest.raises(UserError, match="beyond the stated 90x60, and fit the picture upright, as its EXIF"):
        opened(voc, "a\n")
    place(voc, "a", "a.jpg", size=(60, 90), box=box, orientation=TURNED)
    assert len(opened(voc, "a\n").targets[0].boxes) == 1
