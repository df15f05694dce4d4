import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.data import shapes_scenes as module
from detection.data.coco_dataset import CocoDataset
from detection.data.dataset_splits import DataConfig, open_dataset
from detection.data.shapes_scenes import (
    CATEGORY_IDS,
    SPLITS,
    Scene,
    Shape,
    ShapesFolders,
    coco_annotations,
    draw_scene,
    ensure_shapes,
)
from detection.data.voc_dataset import VocDataset
from foundation.errors import UserError
from pictures.decoding import load_image
from pictures.shapes import CLASSES, FEW_CLASSES

# Every decoded mask brings one, from inside pycocotools.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def open_both(shapes: ShapesFolders, split: str) -> tuple[CocoDataset, VocDataset]:
    annotations = shapes.coco / "annotations" / f"instances_{split}.json"
    coco = CocoDataset(annotations, shapes.coco / split, masks=True)
    return coco, VocDataset(shapes.voc, [("2007", split)], CLASSES)


@pytest.mark.parametrize("split", SPLITS)
def test_both_layouts_agree(shapes: ShapesFolders, split: str):
    coco, voc = open_both(shapes, split)
    assert len(coco) == len(voc) == SPLITS[split]
    assert [f"{image_id:06d}" for image_id in coco.image_ids] == voc.image_ids
    assert coco.classes == voc.classes == CLASSES
    assert coco.category_ids == CATEGORY_IDS
    for index in range(len(coco)):
        one, other = coco.load_target(index), voc.load_target(index)
        assert one.boxes.tolist() == other.boxes.tolist()
        assert one.labels.tolist() == other.labels.tolist()
        assert one.size == other.size
        assert coco.image_path(index).read_bytes() == voc.image_path(index).read_bytes()


def test_few_classes_are_a_set_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SPLITS", {"train": 20, "val": 10})
    few, all_of_them = ensure_shapes(tmp_path, FEW_CLASSES), ensure_shapes(tmp_path)
    assert few.coco != all_of_them.coco and few.voc != all_of_them.voc
    for split in ("train", "val"):
        dataset = open_dataset(DataConfig(kind="few_shapes", root=str(tmp_path)), split)
        assert dataset.classes == FEW_CLASSES
        assert dataset.category_ids == [CATEGORY_IDS[CLASSES.index(name)] for name in FEW_CLASSES]
    labels = {label for index in range(10) for label in dataset.load_target(index).labels.tolist()}
    assert labels <= {1, 2, 3, 4, 5} and len(labels) > 3
    with pytest.raises(UserError, match="Shapes has no split 'vla'; did you mean 'val'"):
        open_dataset(DataConfig(kind="few_shapes", root=str(tmp_path)), "train+vla")


def test_boxes_are_the_extents_of_the_masks(shapes: ShapesFolders):
    coco, voc = open_both(shapes, "val")
    for index in range(len(coco)):
        target = coco.load_target(index)
        assert target.mask is not None
        numbers = np.zeros(target.size, dtype=np.uint8)
        for number, box in enumerate(target.boxes.tolist()):
            y, x = np.nonzero(target.mask(number))
            assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]
            numbers[y, x] = number + 1
        path = shapes.voc / "VOC2007" / "SegmentationObject" / f"{voc.image_ids[index]}.png"
        assert np.array_equal(np.asarray(Image.open(path)), numbers)


def test_every_class_and_both_edge_cases_occur(shapes: ShapesFolders):
    for split in SPLITS:
        coco, voc = open_both(shapes, split)
        labels = np.concatenate([target.labels.numpy() for target in coco.targets])
        assert set(labels.tolist()) == set(range(1, 11))
        empty = [int(target.image_id) for target in voc.targets if len(target.boxes) == 0]
        assert {int(number) for number in voc.image_ids if int(number) % 25 == 0} <= set(empty)
        assert any(target.ignore.any() for target in voc.targets)
        assert max(len(target.boxes) for target in voc.targets) > 3


def test_pictures_are_as_annotated(shapes: ShapesFolders):
    coco, _ = open_both(shapes, "val")
    for index in range(0, len(coco), 10):
        pixels = load_image(coco.image_path(index), coco.image_sizes[index])
        assert pixels.std() > 5  # something is drawn
    assert all(160 <= side <= 224 for size in coco.image_sizes for side in size)


def test_a_seed_fixes_every_pixel():
    one, again, other = draw_scene(7, "train"), draw_scene(7, "train"), draw_scene(8, "train")
    assert np.array_equal(one.image, again.image)
    assert [s.box for s in one.shapes] == [s.box for s in again.shapes]
    assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)


def test_every_25th_picture_is_empty():
    assert draw_scene(25, "train").shapes == []
    assert draw_scene(26, "train").shapes != []


def scene() -> Scene:
    """A mask of pixels x 2-4, y 1-2 in a picture of 6 x 5 (width x height): box (2, 1, 5, 3)."""
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:3, 2:5] = True
    return Scene("000042", "train", np.zeros((5, 6, 3), dtype=np.uint8), [Shape(6, mask, difficult=True)])


def test_coco_entry_by_hand():
    content = json.loads(json.dumps(coco_annotations([scene()])))
    (entry,) = content["annotations"]
    assert content["images"] == [{"id": 42, "file_name": "000042.jpg", "height": 5, "width": 6}]
    assert (entry["bbox"], entry["area"], entry["iscrowd"]) == ([2, 1, 3, 2], 6, 0)
    # The seventh class has id 8, since 7 is left out.
    assert (entry["category_id"], CLASSES[6]) == (8, "ring")
    assert {"id": 8, "name": "ring"} in content["categories"]
    assert entry["segmentation"]["size"] == [5, 6]


def test_written_once(shapes: ShapesFolders, monkeypatch: pytest.MonkeyPatch):
    def fail(folder: Path) -> None:
        raise AssertionError(f"wrote {folder} again")

    monkeypatch.setattr(module, "write_coco", fail)
    monkeypatch.setattr(module, "write_voc", fail)
    assert ensure_shapes(shapes.coco.parent) == shapes


def test_another_version_goes_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SPLITS", {"train": 2, "val": 1})
    first = ensure_shapes(tmp_path)
    monkeypatch.setattr("pictures.shapes.VERSION", 999)
    second = ensure_shapes(tmp_path)
    assert second.coco == tmp_path / "coco-version999-seed0"
    assert {path.name for path in tmp_path.iterdir()} == {
        "coco", "VOCdevkit", "coco-version999-seed0", "VOCdevkit-version999-seed0",
    }  # fmt: skip
    assert len(list((first.coco / "train").iterdir())) == 2
    assert (first.voc / "VOC2007" / "ImageSets" / "Main" / "trainval.txt").read_text().split() == [
        "000001", "000002", "000003",
    ]  # fmt: skip
