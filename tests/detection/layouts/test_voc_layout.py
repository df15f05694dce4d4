"""VOC's XML files as Roboflow, CVAT, Label Studio and labelImg lay them out."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from detection.data.dataset_splits import DataConfig, locate_splits, open_dataset
from foundation.errors import UserError

CAT = ("cat", (11, 3, 14, 6), 0)


def xml(*objects: tuple[str, tuple[int, ...], int], filename: str = "") -> str:
    """The annotation of a picture of 20 x 10."""
    nodes = [
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>"
        f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box, difficult in objects
    ]
    size = "<size><width>20</width><height>10</height><depth>3</depth></size>"
    return f"<annotation><filename>{filename}</filename>{size}{''.join(nodes)}</annotation>"


def test_roboflow(place: Callable, opened: Callable):
    files = {"train/a.jpg": None, "train/a.xml": xml(CAT, ("dog", (1, 1, 5, 5), 1))}
    root = place({**files, "valid/b.jpg": None, "valid/b.xml": xml()})
    training, validation = opened("voc", root)
    assert training.classes == validation.classes == ["cat", "dog"]
    assert (training.image_ids, validation.image_ids) == (["train/a.jpg"], ["valid/b.jpg"])
    (target,) = training.targets
    # 1-based and inclusive: xmin - 1, ymin - 1, xmax, ymax.
    assert target.boxes.tolist() == [[10, 2, 14, 6], [0, 0, 5, 5]]
    assert (target.labels.tolist(), target.ignore.tolist()) == ([1, 2], [False, True])


@pytest.mark.parametrize(
    "files",
    [
        {"a.xml": xml(CAT), "a.jpg": None, "b.xml": xml(CAT), "b.png": None},
        {"Annotations/a.xml": xml(CAT), "JPEGImages/a.jpg": None, "Annotations/b.xml": xml()}
        | {"JPEGImages/b.JPG": None},
        {"Annotations/1.xml": xml(CAT, filename="a.jpg"), "images/a.jpg": None}
        | {"Annotations/2.xml": xml(CAT, filename="b.jpg"), "images/b.jpg": None},  # Label Studio
        {"train/annotations/a.xml": xml(CAT), "train/images/a.jpg": None, "val/annotations/b.xml": xml(CAT)}
        | {"val/images/b.jpg": None},
        {"annotations/train/a.xml": xml(CAT), "images/train/a.jpg": None, "annotations/val/b.xml": xml(CAT)}
        | {"images/val/b.jpg": None},
    ],
)
def test_layouts_with_a_picture_each(place: Callable, opened: Callable, files: dict[str, str | None]):
    training, validation = opened("voc", place(files))
    assert (len(training), len(validation), validation.classes) == (1, 1, ["cat"])
    assert training.image_path(0).is_file() and validation.image_path(0).is_file()


CVAT = {
    "ImageSets/Main/default.txt": "a\nb\nc\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:::\ndog:0,0,0::\ncat:1,1,1::\n",
    **{f"Annotations/{name}.xml": xml(CAT) for name in "abc"},
    **{f"JPEGImages/{name}.jpg": None for name in "abc"},
}


def test_cvat(place: Callable, opened: Callable):
    training, validation = opened("voc", place(CVAT))
    assert (len(training), len(validation), training.classes) == (2, 1, ["dog", "cat"])
    assert training.targets[0].labels.tolist() == [2]
    assert opened("voc", place({}), classes="auto")[0].classes == ["cat"]
    assert opened("voc", place({}), classes=("cat", "cow"))[0].classes == ["cat", "cow"]


def test_a_list_that_lacks_a_label(place: Callable, opened: Callable):
    root = place({**CVAT, "Annotations/b.xml": xml(("dgo", (1, 1, 5, 5), 0))})
    text = (
        r"Annotations/b\.xml: label 'dgo' is not in .*labelmap\.txt; did you mean 'dog'\?; add it there, or"
    )
    with pytest.raises(UserError, match=text):
        opened("voc", root)
    text = r"annotation Annotations/b\.xml object 1: label 'dgo' is not in data\.classes=\[cat, dog\]; add it"
    with pytest.raises(UserError, match=text):
        opened("voc", root, classes=("cat", "dog"), val="default")


def test_the_devkit_with_classes_of_its_own(write_voc: Callable[..., Path]):
    devkit = write_voc({"000007": [("cow", (11, 21, 30, 40), 0)]}, split="train")
    config = DataConfig(kind="voc", root=str(devkit), val="2007:train", classes="auto")
    assert (config.train, open_dataset(config, "2007:train").classes) == ("2007:train", ["cow"])
    as_ever = DataConfig(kind="voc", root=str(devkit))
    assert (as_ever.train, as_ever.val) == ("2007:train", "2007:val")
    assert open_dataset(as_ever, "2007:train").classes[0] == "aeroplane"
    assert len(locate_splits(as_ever, as_ever.train)) == 1
    (devkit / "VOC2007" / "ImageSets" / "Main" / "test.txt").write_text("000007\n")
    assert DataConfig(kind="voc", root=str(devkit)).train == "2007:trainval" == DataConfig(kind="voc").train


def test_the_folder_of_a_year_alone(write_voc: Callable[..., Path], opened: Callable):
    year = write_voc({"000007": [CAT]}, split="train") / "VOC2007"
    write_voc({"000008": [CAT]}, split="val")
    assert [len(dataset) for dataset in opened("voc", year)] == [1, 1]


def test_pictures_without_annotation_are_left_out(
    place: Callable, opened: Callable, caplog: pytest.LogCaptureFixture
):
    root = place({"a.xml": xml(CAT), "a.jpg": None, "b.jpg": None})
    with caplog.at_level(logging.WARNING):
        assert list(map(len, opened("voc", root))) == [1, 1]
    assert "no XML file of 1 picture, left out, for instance b.jpg" in caplog.text


def test_faults_name_file_and_object(place: Callable, opened: Callable):
    root = place({"a.xml": xml(CAT, ("cat", (9, 1, 5, 5), 0)), "a.jpg": None})
    with pytest.raises(UserError, match=r"set: a\.xml object 2: box xmin 9, .*covers nothing of the 20x10"):
        opened("voc", root)
    place({"a.xml": "<annotation>"})
    with pytest.raises(UserError, match=r"set: a\.xml: is damaged"):
        opened("voc", root)


def test_sets_that_cannot_be_read(place: Callable, opened: Callable, tmp_path: Path):
    with pytest.raises(UserError, match=r"holds no VOC set: looked for XML files in Annotations/, in train/"):
        opened("voc", place({"a.jpg": None}))
    with pytest.raises(UserError, match="none: no such folder"):
        opened("voc", tmp_path / "none")
    with pytest.raises(UserError, match=r"data\.pictures: .*photos: no such folder"):
        opened("voc", tmp_path, pictures="photos")


def test_exported(real_data: Path, opened: Callable):
    if not (real_data / "exports").is_dir():
        pytest.skip("no exports")
    training, validation = opened("voc", real_data / "exports" / "roboflow_dataset" / "voc")
    assert (len(training), training.classes) == (2, ["label_0", "label_1"])
    assert validation.targets[0].boxes.tolist() == [[-1, -1, 1, 2], [-1, -1, 9, 1]]
