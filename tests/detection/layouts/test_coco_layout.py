"""COCO files as Roboflow, mmdetection, CVAT, Label Studio and FiftyOne lay them out, or named one by one."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection.data.coco_dataset import CocoDataset
from detection.data.dataset_splits import DataConfig, locate_splits, open_dataset
from foundation.errors import UserError

GROUP = {"id": 0, "name": "animals", "supercategory": "none"}
CAT = {"id": 1, "name": "cat", "supercategory": "animals"}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(json, pictures, names) writes a COCO file of these names with a cat each, and the pictures."""

    def write_set(
        file: str, pictures: Sequence[str], names: Sequence[str] = (), categories: Sequence[Any] = (CAT,)
    ) -> Path:
        names = names or [Path(picture).name for picture in pictures]
        content = {
            "images": [{"id": i, "file_name": n, "height": 8, "width": 12} for i, n in enumerate(names)],
            "categories": list(categories),
            "annotations": [
                {"id": i, "image_id": i, "category_id": 1, "bbox": [1 + i, 2, 3, 4]}
                for i, _ in enumerate(names)
            ],
        }
        for place in [file, *pictures]:
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(json.dumps(content))
        for picture in pictures:
            Image.fromarray(np.zeros((8, 12, 3), dtype=np.uint8)).save(tmp_path / picture)
        return tmp_path

    return write_set


def opened(**data: Any) -> list[CocoDataset]:
    config = DataConfig(kind="coco", **{key: str(value) for key, value in data.items()})
    both = [open_dataset(config, split) for split in (config.train, config.val)]
    assert all(dataset.image_path(i).is_file() for dataset in both for i in range(len(dataset)))
    return both  # type: ignore[return-value]


def test_roboflow(write: Callable[..., Path], caplog: pytest.LogCaptureFixture):
    write("train/_annotations.coco.json", ["train/a.jpg", "train/b.jpg"], categories=[GROUP, CAT])
    root = write("valid/_annotations.coco.json", ["valid/c.jpg"], categories=[GROUP, CAT])
    with caplog.at_level(logging.INFO):
        training, validation = opened(root=root)
    assert (len(training), len(validation), training.classes, training.category_ids) == (2, 1, ["cat"], [1])
    assert "category 0 'animals' is the group of all others and no class" in caplog.text
    assert training.targets[1].boxes.tolist() == [[2, 2, 5, 6]]
    joined = open_dataset(DataConfig(root=str(root)), "train+valid")  # both are numbered from 0
    assert [target.image_id for target in joined.targets] == ["train/a.jpg", "train/b.jpg", "valid/c.jpg"]
    assert joined.targets[1].boxes.tolist() == [[2, 2, 5, 6]]
    with pytest.raises(UserError, match=r"picture 'train/a\.jpg' is in two of the splits"):
        open_dataset(DataConfig(root=str(root)), "train+train")


def test_roboflows_first_class_is_kept_where_it_has_objects(write: Callable[..., Path]):
    root = write("_annotations.coco.json", ["a.jpg", "b.jpg"], categories=[GROUP, CAT])
    content = json.loads((root / "_annotations.coco.json").read_text())
    content["annotations"][0]["category_id"] = 0
    (root / "_annotations.coco.json").write_text(json.dumps(content))
    assert opened(root=root)[0].classes == ["animals", "cat"]


@pytest.mark.parametrize(
    ("file", "pictures", "names"),
    [
        ("annotations/instances_default.json", ["images/a.jpg", "images/b.jpg"], []),  # CVAT
        ("annotations/instances_default.json", ["images/default/a.jpg", "images/default/b.jpg"], []),
        ("result.json", ["images/a.jpg", "images/b.jpg"], ["images/a.jpg", "images/b.jpg"]),  # Label Studio
        ("result.json", ["images/a.jpg", "images/b.jpg"], ["images\\1\\a.jpg", "images\\1\\b.jpg"]),
        ("result.json", ["images/a.jpg", "images/b.jpg"], ["/data/upload/1/a.jpg", "/data/upload/1/b.jpg"]),
        ("labels.json", ["data/a.jpg", "data/b.jpg"], []),  # FiftyOne
        ("mine.json", ["a.jpg", "b.jpg"], []),
        ("annotations/mine.json", ["pictures/a.jpg", "pictures/b.jpg"], ["pictures/a.jpg", "pictures/b.jpg"]),
    ],
)
def test_one_file_is_divided(
    write: Callable[..., Path], file: str, pictures: Sequence[str], names: Sequence[str]
):
    training, validation = opened(root=write(file, pictures, names))
    assert {training.image_path(0).name, validation.image_path(0).name} == {"a.jpg", "b.jpg"}


@pytest.mark.parametrize(
    "files",
    [
        ("annotations/instances_train.json", "annotations/instances_val.json"),  # mmdetection
        ("train.json", "val.json"),
        ("annotations/train.json", "annotations/val.json"),
        ("train_annotations.json", "val_annotations.json"),
        ("train/annotations.json", "val/annotations.json"),
    ],
)
def test_a_file_for_each_split(write: Callable[..., Path], files: tuple[str, str]):
    write(files[0], ["train/a.jpg", "train/b.jpg"])
    training, validation = opened(root=write(files[1], ["val/c.jpg"]))
    assert (len(training), len(validation)) == (2, 1)


def test_named_files(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    write("some/first.json", ["pictures/a.jpg"])
    root = write("some/second.json", ["pictures/b.jpg", "pictures/c.jpg"])
    below = {"root": root, "train": "some/first.json", "val": "some/second.json"}
    assert list(map(len, opened(**below, pictures="pictures"))) == [1, 2]
    monkeypatch.chdir(root)
    beside = {"train": "some/first.json", "val": "some/second.json", "pictures": "pictures"}
    assert list(map(len, opened(**beside))) == [1, 2]
    # Only one is named: the other part is drawn from it, and does not come from somewhere else.
    assert list(map(len, opened(train="some/second.json", pictures="pictures"))) == [1, 1]


def test_named_files_join(write: Callable[..., Path]):
    write("first.json", ["a.jpg"])
    root = write("second.json", ["b.jpg", "c.jpg"])
    training, _ = opened(root=root, train="first.json+second.json", val="first.json")
    assert training.image_ids == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_missing_file_is_no_matter_of_cocos_download_page(write: Callable[..., Path]):
    root = write("first.json", ["a.jpg"])
    with pytest.raises(UserError, match=r"second.json: no such file; expected a COCO JSON there") as error:
        opened(root=root, train="second.json")
    assert "cocodataset" not in str(error.value)


def test_nothing_found(tmp_path: Path):
    with pytest.raises(UserError, match=r"holds no COCO set: looked for annotations/instances_<split>\.json"):
        opened(root=tmp_path)
    with pytest.raises(UserError, match=r"none: no such folder; data.root names the folder of the set"):
        opened(root=tmp_path / "none")


def test_pictures_that_are_nowhere(write: Callable[..., Path]):
    root = write("train.json", [], ["a.jpg"])
    text = r"none of its 1 picture was found, for instance 'a\.jpg'; looked in .*data\.pictures=FOLDER"
    with pytest.raises(UserError, match=text):
        opened(root=root)
    with pytest.raises(UserError, match=r"data\.pictures: .*/photos: no such folder"):
        opened(root=root, pictures="photos")


def test_cocos_own_layout_is_opened_as_ever(coco_root: Path):
    config = DataConfig(kind="coco", root=str(coco_root), train="val")
    assert locate_splits(config, "val")[0].pictures == coco_root / "val"
    assert DataConfig().train == "train2017" and DataConfig().val == "val2017"
    assert DataConfig(root=str(coco_root)).train == "train"
    (coco_root / "annotations" / "instances_train2017.json").write_text("{}")
    assert DataConfig(root=str(coco_root)).val == "val2017"


@pytest.mark.parametrize(
    "layout", ["coco_dataset/mmdet_coco", "coco_dataset/coco_roboflow", "roboflow_dataset/coco"]
)
def test_exported(real_data: Path, layout: str):
    if not (real_data / "exports").is_dir():
        pytest.skip("no exports")
    training, validation = opened(root=real_data / "exports" / layout)
    assert (len(training), len(validation)) == (2 if layout.startswith("roboflow") else 1, 1)
    assert training.classes == (["label_0", "label_1"] if layout.startswith("roboflow") else ["a", "b", "c"])
    assert len(validation.targets[0].boxes) == 2
