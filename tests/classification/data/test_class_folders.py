from pathlib import Path

import pytest

from classification.data.class_folders import class_folders, list_folder
from foundation.errors import UserError


def test_classes_are_sorted_folders_and_labels_follow_them(folder_root):
    (folder_root / "val" / ".cache").mkdir()
    pictures = list_folder(folder_root, "val")
    assert pictures.classes == ["ape", "bee", "cow"]
    assert pictures.labels.tolist() == [0, 0, 1, 1, 2, 2]
    names = [pictures.name(index) for index in (3, 4)]
    assert names == [str(folder_root / "val" / name) for name in ("bee/1.png", "cow/0.png")]
    assert pictures.content(3) == Path(names[0]).read_bytes()


def test_only_pictures_are_listed(folder_root):
    for name in ("notes.txt", "._0.png", "Thumbs.db"):
        (folder_root / "val" / "ape" / name).write_text("no picture")
    (folder_root / "val" / "ape" / "0.png").rename(folder_root / "val" / "ape" / "Übung 0.JPEG")
    pictures = list_folder(folder_root, "val")
    assert len(pictures.labels) == 6
    ids = [pictures.name(index) for index in (0, 1)]
    assert [path.rsplit("/", 1)[1] for path in ids] == ["1.png", "Übung 0.JPEG"]


def test_pictures_of_other_suffixes_are_counted_aloud(folder_root, caplog):
    for name in ("ape/a.gif", "bee/b.gif", "bee/c.heic"):
        (folder_root / "val" / name).write_bytes(b"other")
    (folder_root / "val" / "__MACOSX").mkdir()
    assert len(list_folder(folder_root, "val").labels) == 6
    text = f"{folder_root / 'val'}: 3 files left out, no pictures by their suffix: 2 .gif, 1 .heic"
    assert [record.getMessage() for record in caplog.records] == [text]


def test_a_missing_split_says_where_it_looked_and_what_belongs_there(folder_root):
    with pytest.raises(UserError) as caught:
        list_folder(folder_root, "valid")
    assert str(caught.value) == (
        f"no folder {folder_root / 'valid'}; expected one folder of pictures per class in it, as ImageNet's "
        "valid/n01440764/*.JPEG. Unpack the data set there, or set data.root or DATA_ROOT"
    )


def test_a_flat_validation_folder_is_explained(folder_root):
    (folder_root / "flat").mkdir()
    (folder_root / "flat" / "ILSVRC2012_val_00000001.JPEG").touch()
    with pytest.raises(
        UserError, match="holds no class folders; .*move its pictures into one folder per class"
    ):
        class_folders(folder_root, "flat")


def test_a_class_without_pictures_is_named(folder_root):
    (folder_root / "val" / "dog").mkdir()
    (folder_root / "val" / "dog" / "readme.txt").touch()
    with pytest.raises(UserError, match=r"val/dog holds no pictures \(.*\.jpeg.*\); fill it or remove it"):
        list_folder(folder_root, "val")


def test_real_imagenet_folders(real_data):
    pictures = list_folder(real_data / "imagenette", "val")
    assert (len(pictures.labels), len(pictures.classes)) == (1000, 10)
    assert pictures.classes[0] == "n01440764"
    assert pictures.labels[[0, 999]].tolist() == [0, 9]
