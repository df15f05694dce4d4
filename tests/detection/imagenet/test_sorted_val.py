"""Val in class folders: every picture once, in the folder of its class, and nothing is changed twice."""

from pathlib import Path

import pytest

from detection.data.dataset_splits import DataConfig, open_dataset
from detection.imagenet.ilsvrc_shapes import ensure_ilsvrc
from detection.imagenet.sorted_val import sort_val
from foundation.errors import UserError


def test_every_picture_is_linked_into_the_folder_of_its_class(tmp_path: Path):
    root = ensure_ilsvrc(tmp_path / "set")
    folder = sort_val(root)
    assert folder == root / "Data" / "CLS-LOC" / "val_sorted"
    dataset = open_dataset(DataConfig("imagenet_loc", str(root)), "val")
    for index, label in enumerate(dataset.image_labels):
        picture = dataset.image_path(index)
        link = folder / dataset.classes[label - 1] / picture.name
        assert link.is_symlink() and link.read_bytes() == picture.read_bytes()
    assert len(list(folder.glob("*/*"))) == len(dataset)
    assert sorted(path.name for path in folder.iterdir()) == dataset.classes
    root.parent.rename(tmp_path / "moved")  # the links are relative
    moved = tmp_path / "moved" / folder.relative_to(root.parent)
    assert next(moved.glob("*/*")).resolve().is_file()
    with pytest.raises(UserError, match="val_sorted exists, and is not changed; remove it to sort val anew"):
        sort_val(tmp_path / "moved" / root.name)


def test_no_such_set(tmp_path: Path):
    with pytest.raises(UserError, match="CLS-LOC"):
        sort_val(tmp_path)
