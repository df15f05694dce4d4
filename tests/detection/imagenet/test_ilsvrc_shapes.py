"""The generated sets, read by the readers of the real ones."""

from pathlib import Path

import numpy as np
import pytest

from detection.data.dataset_splits import DataConfig, open_dataset
from detection.data.shapes_scenes import draw_scene
from detection.imagenet import ilsvrc_shapes as module
from detection.imagenet.ilsvrc_dataset import IlsvrcDataset
from detection.imagenet.ilsvrc_shapes import WNIDS, draw_loc_scene
from pictures.decoding import load_image
from pictures.shapes import CLASSES


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a set of fewer pictures."""
    monkeypatch.setattr(module, "DET_SPLITS", {"train": 30, "val": 10, "test": 2})
    monkeypatch.setattr(module, "LOC_SPLITS", {"train": 30, "val": 20, "test": 2})
    return tmp_path


def opened(root: Path, kind: str, split: str) -> IlsvrcDataset:
    dataset = open_dataset(DataConfig(kind=kind, root=str(root)), split)
    assert isinstance(dataset, IlsvrcDataset)
    return dataset


def test_det(root: Path):
    val1, val2 = opened(root, "shapes_det", "val1"), opened(root, "shapes_det", "val2")
    assert (len(val1), len(val2), len(opened(root, "shapes_det", "test"))) == (5, 5, 2)
    assert val1.classes == CLASSES and val1.category_ids == list(range(1, 11))
    scene = draw_scene(31, "val")  # the first of val
    assert val1.targets[0].boxes.tolist() == [list(shape.box) for shape in scene.shapes]
    assert val1.targets[0].labels.tolist() == [shape.label + 1 for shape in scene.shapes]
    assert len(val1.void_pairs) == len(val2.void_pairs) == 1
    ((index, label),) = val2.void_pairs
    assert val2.targets[index].ignore.tolist() == (val2.targets[index].labels == label).tolist()
    assert np.abs(load_image(val1.image_path(0)).astype(int) - scene.image).mean() < 12  # JPEG on noise


def test_dets_training_pictures(root: Path):
    dataset = opened(root, "shapes_det", "train")
    # The 25th scene shows nothing; the 10th, 20th and 30th lack their last object, and all show others.
    assert len(dataset) == 29
    place = dataset.image_ids.index(module._det_name(draw_scene(10, "train")))
    assert len(dataset.targets[place].labels) == len(draw_scene(10, "train").shapes) - 1
    default = DataConfig(kind="shapes_det", root=str(root))
    assert (default.train, default.val) == ("train+val1", "val2")
    assert len(open_dataset(default, default.train)) == 34


def test_cls_loc(root: Path):
    train, val = opened(root, "shapes_loc", "train"), opened(root, "shapes_loc", "val")
    assert (len(train), len(val), len(opened(root, "shapes_loc", "test"))) == (30, 20, 2)
    assert val.classes == sorted(WNIDS) and val.category_ids != sorted(val.category_ids)
    assert val.left_out == {4, 16}
    for index, target in enumerate(val.targets):
        shape = draw_loc_scene(index + 1, "val").shapes[0]
        assert set(target.labels.tolist()) == {val.image_labels[index]}
        assert val.classes[val.image_labels[index] - 1] == WNIDS[shape.label]
        assert CLASSES[val.category_ids[val.image_labels[index] - 1] - 1] == CLASSES[shape.label]
        assert 128 <= min(target.size) <= max(target.size) <= 200
    counts = [len(target.labels) for target in train.targets]
    assert set(counts) == {1, 2, 3}
    shares = [
        float((b[2] - b[0]) * (b[3] - b[1])) / (t.size[0] * t.size[1]) for t in train.targets for b in t.boxes
    ]
    assert min(shares) < 0.1 and max(shares) > 0.4  # of varied size


def test_a_picture_can_be_drawn_again():
    one, again = draw_loc_scene(7, "val"), draw_loc_scene(7, "val")
    assert np.array_equal(one.image, again.image) and one.shapes[0].label == 7
    assert not np.array_equal(one.image, draw_loc_scene(7, "train").image)
