import json
from pathlib import Path

import numpy as np
import pytest

from foundation.errors import UserError
from pictures.decoding import load_image
from segmentation.data.label_maps import write_label_map
from segmentation.data.mask_folders import open_mask_folders
from tests.segmentation.conftest import LabelWriter, save

MAPS = {"a": [[0, 1]], "b": [[1, 1]], "c": [[0, 0]]}


def names(dataset) -> list[str]:
    return [dataset.image_id(index) for index in range(len(dataset))]


def test_lists(write_folders: LabelWriter):
    root = write_folders(MAPS)
    (root / "train.txt").write_text("c\na.jpg\n")
    dataset = open_mask_folders(root, "train")
    assert (names(dataset), dataset.classes) == (["c", "a"], ["ground", "thing"])
    assert dataset.load_labels(1).tolist() == [[0, 1]]
    assert names(open_mask_folders(root, "all")) == ["a", "b", "c"]
    (root / "train.txt").write_text("d\n")
    with pytest.raises(UserError, match=r"train\.txt: names the picture 'd', which is not in"):
        open_mask_folders(root, "train")


@pytest.mark.parametrize("layout", ["{split}/{kind}", "{kind}/{split}"])
def test_folders_of_splits(write_folders: LabelWriter, layout: str):
    root = write_folders(MAPS)
    for kind in ("images", "masks"):
        (root / kind).rename(root / "undivided")
        (root / layout.format(split="val", kind=kind)).parent.mkdir(exist_ok=True, parents=True)
        (root / "undivided").rename(root / layout.format(split="val", kind=kind))
    dataset = open_mask_folders(root, "val")
    assert names(dataset) == ["a", "b", "c"] and dataset.load_labels(1).tolist() == [[1, 1]]


def test_what_is_missing(write_folders: LabelWriter, tmp_path: Path):
    root = write_folders(MAPS)
    with pytest.raises(UserError, match=r"the set has no split 'val', only all; expected classes\.txt"):
        open_mask_folders(root, "val")
    (root / "masks" / "b.png").unlink()
    with pytest.raises(UserError, match=r"masks/b\.png: no such file; expected a PNG"):
        open_mask_folders(root, "all").load_labels(1)
    for name in "ac":
        (root / "masks" / f"{name}.png").rename(root / "masks" / f"gt_{name}.png")
    with pytest.raises(UserError, match=r"a\.png: no such label map, and none of the other 2 pictures"):
        open_mask_folders(root, "all")
    for name in "ac":
        (root / "masks" / f"gt_{name}.png").rename(root / "masks" / f"{name}.png")
    (root / "classes.txt").unlink()
    save(root / "masks" / "b.png", [[0, 0]])
    with pytest.raises(UserError, match=r"classes\.txt: no such file"):
        open_mask_folders(root, "all")
    with pytest.raises(UserError, match="nowhere: no such folder; expected classes.txt"):
        open_mask_folders(tmp_path / "nowhere", "all")


def test_an_export_in_colours_is_refused_and_can_be_converted(real_data: Path, tmp_path: Path):
    """The conversion of docs/segmentation.md."""
    export = real_data / "exports" / "common_semantic_segmentation_dataset" / "dataset"
    meta = json.loads((export / "dataset_meta.json").read_text())
    for file in export.glob("images/*.png"):
        save(tmp_path / "images" / file.name, load_image(file))
        save(tmp_path / "masks" / file.name, load_image(export / "masks" / file.name))
    (tmp_path / "classes.txt").write_text("\n".join(meta["label_map"].values()))
    with pytest.raises(UserError, match=r"stores colours \(mode RGB\)"):
        open_mask_folders(tmp_path, "all").load_labels(0)
    for file in (tmp_path / "masks").iterdir():
        rgb = load_image(file)
        labels = np.full(rgb.shape[:2], 255, np.uint8)
        for index, colour in enumerate(meta["segmentation_colors"]):
            labels[(rgb == colour).all(axis=2)] = index
        write_label_map(file, labels)
    dataset = open_mask_folders(tmp_path, "all")
    # Its colours are those of Bicyclist and Road, and of Animal and Child.
    assert [np.unique(dataset.load_labels(index)).tolist() for index in range(2)] == [[3, 5], [1, 4]]
