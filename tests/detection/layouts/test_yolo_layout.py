"""YOLO sets as Ultralytics, Roboflow, CVAT, darknet and Label Studio lay them out."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from detection.data.dataset_splits import DataConfig, open_dataset
from foundation.errors import UserError

# Of a picture of 20 x 10: centre (10, 5), 4 x 2 pixels, that is (8, 4, 12, 6).
BOX = "1 0.5 0.5 0.2 0.2\n"
NAMES = "names: [cat, dog]\n"
ULTRALYTICS = {
    "images/train/a.jpg": None,
    "images/train/deep/b.png": None,
    "images/val/c.jpg": None,
    "labels/train/a.txt": BOX,
    "labels/train/deep/b.txt": BOX + BOX,
    "labels/val/c.txt": BOX,
}


def test_ultralytics(place: Callable, opened: Callable):
    root = place(
        {**ULTRALYTICS, "data.yaml": "train: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n"}
    )
    training, validation = opened("yolo", root)
    assert training.image_ids == ["images/train/a.jpg", "images/train/deep/b.png"]
    assert (training.classes, validation.classes) == (["cat", "dog"], ["cat", "dog"])
    assert training.targets[0].boxes.tolist() == [[8, 4, 12, 6]]
    assert training.targets[0].labels.tolist() == [2]
    assert training.image_path(1).is_file()
    by_file = opened("yolo", root / "data.yaml")
    assert [dataset.fingerprint() for dataset in by_file] == [
        training.fingerprint(),
        validation.fingerprint(),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        "path: ../datasets/of_another_machine\ntrain: images/train\nval: images/val\n",
        "path: .\ntrain: [images/train]\nval: [images/val]\n",
        "train: ./train.txt\nval: val.txt\n",  # CVAT's Ultralytics YOLO
        "train: /home/me/set/images/train\nval: /home/me/set/images/val\n",
        "train: images/train\nval: images/valid\ntest: images/test\n",
    ],
)
def test_what_a_yaml_names_is_looked_for(place: Callable, opened: Callable, lines: str):
    lists = {
        "train.txt": "data/images/train/a.jpg\n./images/train/deep/b.png\n",
        "val.txt": "images/val/c.jpg\n",
    }
    training, validation = opened("yolo", place({**ULTRALYTICS, **lists, "data.yaml": lines + NAMES}))
    assert (len(training), len(validation)) == (2, 1)


def test_roboflow(place: Callable, opened: Callable, caplog: pytest.LogCaptureFixture):
    files = {f"{split}/{kind}" for split in ("train", "val") for kind in ("images/a.jpg", "labels/a.txt")}
    lines = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\n"
    root = place({**{f: BOX if f.endswith("txt") else None for f in files}, "data.yaml": lines + NAMES})
    with caplog.at_level(logging.INFO):
        training, validation = opened("yolo", root)
    assert (training.image_ids, validation.image_ids) == (["train/images/a.jpg"], ["val/images/a.jpg"])
    assert f"val: ../valid/images was found at {root / 'val' / 'images'}" in caplog.text
    assert "test: ../test/images does not exist and is left out" in caplog.text


def test_darknet_as_cvat_exports_it(place: Callable, opened: Callable):
    data = "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    pictures = [f"obj_train_data/{name}.jpg" for name in "cab"]
    files = {"obj.data": data, "obj.names": "cat\ndog\n", "obj_train_data/a.txt": BOX}
    files |= {"train.txt": "".join(f"data/{picture}\n" for picture in pictures)}
    root = place({**files, **dict.fromkeys(pictures)})
    training, validation = opened("yolo", root)
    assert (len(training), len(validation), training.classes) == (2, 1, ["cat", "dog"])
    whole = open_dataset(DataConfig(kind="yolo", root=str(root), val="train"), "train")
    assert whole.image_ids == pictures  # in the order of the list
    assert [len(target.boxes) for target in whole.targets] == [0, 1, 0]


@pytest.mark.parametrize(
    "names",
    [
        {"classes.txt": "cat\ndog\n"},
        {"notes.json": json.dumps({"categories": [{"id": 1, "name": "dog"}, {"id": 0, "name": "cat"}]})},
        {"labels/classes.txt": "cat\ndog\n"},
    ],
)
def test_label_studio(place: Callable, opened: Callable, names: dict[str, str]):
    files = {f"images/{name}.jpg": None for name in "abcde"} | {f"labels/{name}.txt": BOX for name in "abcde"}
    training, validation = opened("yolo", place({**files, **names}))
    assert (len(training), len(validation), validation.classes) == (4, 1, ["cat", "dog"])


@pytest.mark.parametrize(
    "files",
    [
        {"a.jpg": None, "a.txt": BOX, "b.jpg": None, "b.txt": ""},
        {"train/a.jpg": None, "train/a.txt": BOX, "valid/b.jpg": None, "valid/b.txt": BOX},
        {"Images/a.jpg": None, "Annotations/a.txt": BOX, "Images/b.jpg": None},
        {"train/images/a.jpg": None, "train/labels/a.txt": BOX, "val/images/b.jpg": None}
        | {"val/labels/b.txt": BOX},
        {"train.txt": "all/a.jpg", "val.txt": "all/b.jpg", "all/a.jpg": None, "all/a.txt": BOX}
        | {"all/b.jpg": None, "all/b.txt": BOX},
        {"obj_train_data/a.jpg": None, "obj_train_data/a.txt": BOX, "obj_valid_data/b.jpg": None}
        | {"obj_valid_data/b.txt": BOX},
    ],
)
def test_without_description(place: Callable, opened: Callable, files: dict[str, str | None]):
    root = place({**files, "classes.txt": "cat\ndog\n"})
    assert list(map(len, opened("yolo", root))) == [1, 1]


def test_names_of_the_configuration(place: Callable, opened: Callable):
    root = place({"images/a.jpg": None, "labels/a.txt": BOX, "images/b.jpg": None})
    text = r"nothing names the classes; .*write classes\.txt with a name a line.*data\.classes=\[…\]"
    with pytest.raises(UserError, match=text):
        opened("yolo", root)
    assert opened("yolo", root, classes=("cow", "hen"))[0].classes == ["cow", "hen"]


def test_pictures_elsewhere(place: Callable, opened: Callable):
    root = place({"photos/a.jpg": None, "labels/a.txt": BOX, "photos/b.jpg": None, "classes.txt": "cat\ndog"})
    training, validation = opened("yolo", root, pictures="photos")
    assert sorted(len(target.boxes) for target in training.targets + validation.targets) == [0, 1]
    place({"data.yaml": "train: photos\n" + NAMES})
    with pytest.raises(UserError, match=r"data\.pictures has no effect on YOLO with data\.yaml"):
        opened("yolo", root, pictures="photos")


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"classes.txt": "cat"}, r"holds no YOLO set: looked for data\.yaml, obj\.data"),
        ({"images/a.jpg": None, "classes.txt": "cat"}, r"none of 1 picture has labels; .*as a\.txt"),
        ({"data.yaml": "train: images/train\n" + NAMES}, "none of the folders that it names .* exists"),
        ({"data.yaml": "train: images\nnc: 3\n" + NAMES, "images/a.jpg": None}, "nc is 3, but names has 2"),
        ({"data.yaml": "train: images\nnames: {0: cat, 2: dog}\n"}, "expected a list of names or a name for"),
        ({"obj.data": "train = data/train.txt\n"}, r"expected train = LIST\.txt .*got 'data/train\.txt'"),
        (
            {"obj.data": "train = train.txt\n", "train.txt": "data/a.jpg", "obj.names": "cat"},
            r"train\.txt line 1: data/a\.jpg: no such picture",
        ),
    ],
)
def test_sets_that_cannot_be_read(place: Callable, opened: Callable, files: dict[str, str | None], text: str):
    with pytest.raises(UserError, match=text):
        opened("yolo", place(files))


def test_a_root_is_needed(tmp_path: Path, opened: Callable):
    with pytest.raises(UserError, match=r"data\.root is not set; data\.kind=yolo is your own set"):
        open_dataset(DataConfig(kind="yolo"), "train")
    with pytest.raises(UserError, match="none: no such folder"):
        opened("yolo", tmp_path / "none")


@pytest.mark.parametrize(
    ("layout", "pictures"),
    [("roboflow_dataset/yolo", 2), *((f"yolo_dataset/{n}", 1) for n in ("labels", "annotations", "strict"))],
)
def test_exported(real_data: Path, opened: Callable, layout: str, pictures: int):
    if not (real_data / "exports").is_dir():
        pytest.skip("no exports")
    training, validation = opened("yolo", real_data / "exports" / layout)
    assert (len(training), len(validation)) == (pictures, 1)
    assert len(validation.targets[0].boxes) == 2
    assert all(dataset.image_path(0).is_file() for dataset in (training, validation))
