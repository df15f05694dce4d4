import json
from collections.abc import Callable
from pathlib import Path

import pytest

from detection.layouts.drawn_sets import find_csv, find_labelme, find_via
from detection.layouts.layout import FoundSet, Layout, SetOptions, checked
from foundation.errors import UserError

HEADER = "file,xmin,ymin,xmax,ymax,label\n"


def table(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def labelme(file: Path, *labels: str, kind: str = "rectangle") -> None:
    points = [[1, 2], [30, 2], [30, 40]] if kind == "polygon" else [[1, 2], [30, 40]]
    shapes = [{"label": label, "points": points, "shape_type": kind} for label in labels]
    content = {"shapes": shapes, "imagePath": f"{file.stem}.jpg", "imageHeight": 48, "imageWidth": 64}
    table(file, json.dumps(content))


def summary(layout: Layout) -> list[tuple]:
    """Id of the picture, class and box of every annotation."""
    names = {category["id"]: category["name"] for category in layout.content["categories"]}
    return [(a["image_id"], names[a["category_id"]], a["bbox"]) for a in layout.content["annotations"]]


def classes(found: FoundSet, split: str) -> list[tuple[int, str]]:
    return [(c["id"], c["name"]) for c in found.splits[split]().content["categories"]]


@pytest.fixture
def pictures(tmp_path: Path, picture: Callable) -> Path:
    """A folder with train/a.jpg and valid/b.jpg."""
    picture(tmp_path / "train" / "a.jpg")
    picture(tmp_path / "valid" / "b.jpg")
    return tmp_path


def test_tables_as_roboflow_exports_them(pictures: Path):
    table(pictures / "train" / "_annotations.csv", HEADER + "a.jpg,1,2,30,40,dog\n")
    table(pictures / "valid" / "_annotations.csv", HEADER + "b.jpg,3,4,5,6,cat\n")
    found = find_csv(pictures, SetOptions())
    assert list(found.splits) == ["train", "valid"] and found.name_of("val") == "valid"
    assert summary(found.splits["train"]()) == [("train/a.jpg", "dog", [1, 2, 29, 38])]
    layout = found.splits["valid"]()
    assert layout.pictures == pictures / "valid"
    assert [image["file_name"] for image in layout.content["images"]] == ["b.jpg"]
    assert layout.content["annotations"][0]["id"] == "valid/_annotations.csv: line 2"
    assert classes(found, "train") == classes(found, "valid") == [(1, "cat"), (2, "dog")]


def test_a_table_a_split_with_pictures_in_images(tmp_path: Path, picture: Callable):
    for name in ("images/a.jpg", "images/b.jpg"):
        picture(tmp_path / name)
    table(tmp_path / "train_labels.csv", HEADER + "C:\\set\\a.jpg,1,2,30,40,dog\n")
    table(tmp_path / "test_labels.csv", HEADER + "/home/me/b.jpg,3,4,5,6,cat\n")
    found = find_csv(tmp_path, SetOptions())
    assert sorted(found.splits) == ["test", "train"]
    assert summary(found.splits["train"]()) == [("images/a.jpg", "dog", [1, 2, 29, 38])]


def test_one_table_and_the_classes_of_keras_retinanet(tmp_path: Path, picture: Callable):
    picture(tmp_path / "a.jpg")
    table(tmp_path / "all.csv", "a.jpg,1,2,30,40,dog\n")
    table(tmp_path / "classes.csv", "dog,1\nbird,0\n")
    found = find_csv(tmp_path, SetOptions())
    assert list(found.splits) == ["all"]
    assert classes(found, "all") == [(1, "bird"), (2, "dog")]
    table(tmp_path / "classes.csv", "dog,1\nbird,2\n")
    with pytest.raises(UserError, match=r"classes\.csv: expected a name of a class and its number"):
        find_csv(tmp_path, SetOptions())


def test_tables_that_the_configuration_names(tmp_path: Path, picture: Callable):
    picture(tmp_path / "p" / "a.jpg")
    table(tmp_path / "mine" / "one.csv", HEADER + "a.jpg,1,2,30,40,dog\n")
    options = SetOptions("mine/one.csv", "mine/one.csv", tmp_path / "p", classes=("cat", "dog"))
    found = find_csv(tmp_path, options)
    assert list(found.splits) == ["mine/one.csv"]
    assert classes(found, "mine/one.csv") == [(1, "cat"), (2, "dog")]
    assert summary(found.splits["mine/one.csv"]()) == [("p/a.jpg", "dog", [1, 2, 29, 38])]


def test_pictures_of_one_name_beside_the_set_are_told_apart(tmp_path: Path, picture: Callable):
    for split in ("train", "val"):
        picture(tmp_path / split / "a.jpg")
        table(tmp_path / "set" / f"{split}.csv", HEADER + "a.jpg,1,2,30,40,dog\n")
    found = find_csv(tmp_path / "set", SetOptions())
    assert [summary(found.splits[split]())[0][0] for split in ("train", "val")] == [
        "../train/a.jpg", "../val/a.jpg",
    ]  # fmt: skip


def test_labelme_in_folders_of_splits(pictures: Path):
    labelme(pictures / "train" / "a.json", "dog", "dog")
    labelme(pictures / "valid" / "b.json", "cat")
    found = find_labelme(pictures, SetOptions())
    assert list(found.splits) == ["train", "valid"]
    layout = found.splits["train"]()
    places = [annotation["id"] for annotation in layout.content["annotations"]]
    assert places == ["train/a.json: shape 1", "train/a.json: shape 2"]
    assert classes(found, "train") == [(1, "cat"), (2, "dog")]
    assert "segmentation" not in layout.content["annotations"][0]  # rectangles say nothing of outlines
    (pictures / "labels.txt").write_text("__ignore__\ndog\ncat\n")
    assert classes(find_labelme(pictures, SetOptions()), "train") == [(1, "dog"), (2, "cat")]


def test_labelme_with_outlines_has_masks_in_every_split(pictures: Path):
    labelme(pictures / "train" / "a.json", "dog", kind="polygon")
    labelme(pictures / "valid" / "b.json", "dog")
    found = find_labelme(pictures, SetOptions())
    (outline,) = found.splits["train"]().content["annotations"]
    (box,) = found.splits["valid"]().content["annotations"]
    assert outline["segmentation"] == [[1, 2, 30, 2, 30, 40]]
    assert box["segmentation"] == [[1, 2, 30, 2, 30, 40, 1, 40]]


def test_labelme_without_splits(tmp_path: Path, picture: Callable):
    picture(tmp_path / "a.jpg")
    labelme(tmp_path / "a.json", "dog")
    found = find_labelme(tmp_path, SetOptions())
    assert list(found.splits) == ["all"] and found.name_of("train") == "all"
    assert summary(found.splits["all"]()) == [("a.jpg", "dog", [1, 2, 29, 38])]


def test_via_in_folders_of_splits(pictures: Path):
    region = {"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 29, "height": 38}}
    for split, name in (("train", "a.jpg"), ("valid", "b.jpg")):
        entry = {"filename": name, "regions": [{**region, "region_attributes": {}}]}
        table(pictures / split / "via_region_data.json", json.dumps({f"{name}1": entry}))
    found = find_via(pictures, SetOptions(classes=("balloon",)))
    assert summary(found.splits["valid"]()) == [("valid/b.jpg", "balloon", [1, 2, 29, 38])]


def test_what_is_not_there_or_not_clear_is_refused(tmp_path: Path, picture: Callable):
    for find in (find_labelme, find_csv, find_via):
        with pytest.raises(UserError, match="absent: no such folder; data.root names"):
            find(tmp_path / "absent", SetOptions())
    with pytest.raises(UserError, match=r"holds no annotations \(\.csv or \.tsv\).*data\.train=FILE"):
        find_csv(tmp_path, SetOptions())
    with pytest.raises(UserError, match="data.pictures: .*absent: no such folder"):
        find_labelme(tmp_path, SetOptions(pictures=tmp_path / "absent"))
    table(tmp_path / "all.csv", HEADER + "a.jpg,1,2,30,40,dgo\n")
    with pytest.raises(UserError, match=r"none of its 1 picture was found, for instance 'a\.jpg'"):
        find_csv(tmp_path, SetOptions()).splits["all"]()
    picture(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"line 2: label 'dgo' is not in data\.classes; did you mean 'dog'"):
        checked(find_csv(tmp_path, SetOptions(classes=("cat", "dog"))).splits["all"]())


def test_all_faults_of_single_objects_are_told(tmp_path: Path, picture: Callable):
    picture(tmp_path / "a.jpg")
    rows = ["a.jpg,5,2,3,4,cat", "a.jpg,1,2,30,40,cat", "a.jpg,1,2,3,x,cat", "a.jpg,1,2,3,4"]
    table(tmp_path / "all.csv", HEADER + "\n".join(rows))
    layout = find_csv(tmp_path, SetOptions()).splits["all"]()
    assert [problem.where for problem in layout.problems] == ["line 2", "line 4", "line 5"]
    assert summary(layout) == [("a.jpg", "cat", [1, 2, 29, 38])]
    with pytest.raises(UserError, match=r"all\.csv: line 2: the box from 5, 2 to 3, 4 \(x, y\) ends before"):
        checked(layout)


def test_all_faults_of_labelme_are_told(pictures: Path):
    labelme(pictures / "train" / "a.json", "cat", "", "dog")
    labelme(pictures / "train" / "b.json", "cat")
    table(pictures / "labels.txt", "cat\n")
    layout = find_labelme(pictures, SetOptions()).splits["train"]()
    found = [(problem.check, problem.where, problem.text[:19]) for problem in layout.problems]
    assert found == [
        ("malformed_box", "a.json: shape 2", "label is '', expect"),
        ("malformed_box", "b.json", "no picture 'b.jpg' "),
        ("unknown_category", "a.json: shape 3", "label 'dog' is not "),
    ]
    assert summary(layout) == [("train/a.jpg", "cat", [1, 2, 29, 38])]


def test_all_faults_of_via_are_told(tmp_path: Path, picture: Callable):
    picture(tmp_path / "a.jpg")
    shape = {"name": "rect", "x": 1, "y": 2, "width": 29, "height": 38}
    regions = [
        {"shape_attributes": drawn, "region_attributes": {"class": "cat"}}
        for drawn in (shape, {"name": "blob"}, {**shape, "x": None})
    ]
    table(tmp_path / "via.json", json.dumps({"a": {"filename": "a.jpg", "regions": regions}}))
    layout = find_via(tmp_path, SetOptions()).splits["all"]()
    assert [problem.where for problem in layout.problems] == ["a.jpg: region 2", "a.jpg: region 3"]
    assert len(layout.content["annotations"]) == 1


def test_two_names_of_one_picture_are_refused(tmp_path: Path, picture: Callable):
    picture(tmp_path / "a.jpg")
    table(tmp_path / "all.csv", HEADER + "/one/a.jpg,1,2,30,40,dog\n/two/a.jpg,1,2,30,40,dog\n")
    with pytest.raises(UserError, match="'/one/a.jpg' and '/two/a.jpg' were both found as"):
        find_csv(tmp_path, SetOptions()).splits["all"]()


def test_a_name_longer_than_any_file_is_refused(tmp_path: Path):
    table(tmp_path / "all.csv", HEADER + "a" * 5000 + ".jpg,1,2,30,40,dog\n")
    with pytest.raises(UserError, match="none of its 1 picture was found"):
        find_csv(tmp_path, SetOptions()).splits["all"]()
