import json

import numpy as np
import pytest

from classification.data import shapes_folders as shapes
from classification.data.class_folders import list_folder
from classification.data.data_sets import OPENERS, DataConfig
from classification.data.encoded_pictures import EncodedPictures
from classification.data.shapes_folders import SEED, SIDE, draw_example, ensure_shapes
from pictures.decoding import load_image
from pictures.shapes import CLASSES, FEW_CLASSES, VERSION


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    monkeypatch.setattr(shapes, "PICTURES_PER_CLASS", {"train": 3, "val": 2})


def test_layout_is_imagenets(tmp_path):
    root = ensure_shapes(tmp_path)
    assert root == tmp_path / "imagenet"
    config = DataConfig(kind="shapes", image_size=SIDE, resize=SIDE)
    for split, pictures in (("train", 3), ("val", 2)):
        found = EncodedPictures(list_folder(root, split), config, training=False)
        assert found.classes == CLASSES
        assert found.labels.bincount().tolist() == [pictures] * 10


def test_files_hold_the_pictures_drawn(tmp_path):
    root = ensure_shapes(tmp_path)
    image = load_image(root / "val" / CLASSES[4] / "0001.png")
    assert image.shape == (SIDE, SIDE, 3)
    assert np.array_equal(image, np.asarray(draw_example([SEED, 1, 4, 1], CLASSES[4])))


def test_few_classes_are_a_set_of_their_own(tmp_path):
    few, all_of_them = ensure_shapes(tmp_path, FEW_CLASSES), ensure_shapes(tmp_path)
    assert few != all_of_them
    assert list_folder(few, "val").classes == FEW_CLASSES
    name = FEW_CLASSES[0]
    one, other = (root / "train" / name / "0001.png" for root in (few, all_of_them))
    assert one.read_bytes() == other.read_bytes()
    config = DataConfig(kind="few_shapes", root=str(tmp_path), image_size=SIDE, resize=SIDE)
    assert OPENERS["few_shapes"](config, "val", False).classes == FEW_CLASSES


def test_the_seed_decides_a_picture():
    first, again, other = (np.asarray(draw_example([0, 0, 2, number], "crescent")) for number in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_picture_is_in_both_splits(tmp_path):
    root = ensure_shapes(tmp_path)
    contents = [path.read_bytes() for path in root.rglob("*.png")]
    assert len(contents) == len(set(contents)) == 50


def test_a_set_that_is_there_is_kept(tmp_path):
    mark = ensure_shapes(tmp_path) / "train" / CLASSES[0] / "0000.png"
    mark.write_bytes(b"kept")
    ensure_shapes(tmp_path)
    assert mark.read_bytes() == b"kept"


def test_a_set_of_another_version_is_left_and_ours_put_beside_it(tmp_path):
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "imagenet" / "stamp.json").write_text(json.dumps({"seed": SEED, "version": VERSION + 1}))
    root = ensure_shapes(tmp_path)
    assert root == tmp_path / f"imagenet-version{VERSION}-seed{SEED}"
    assert (root / "val" / "star" / "0001.png").is_file()
    assert sorted(path.name for path in (tmp_path / "imagenet").iterdir()) == ["stamp.json"]
