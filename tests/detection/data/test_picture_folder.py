from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.data.dataset_splits import DataConfig
from detection.data.detection_batches import PreparedPictures, evaluation_batches
from detection.data.picture_folder import PictureFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """b.JPG of 5 x 3, below/a.png of 2 x 4 (width x height), and things that are no pictures."""
    (tmp_path / "below").mkdir()
    (tmp_path / "album.jpg").mkdir()
    Image.fromarray(np.zeros((3, 5, 3), dtype=np.uint8)).save(tmp_path / "b.JPG")
    Image.fromarray(np.zeros((4, 2), dtype=np.uint8)).save(tmp_path / "below" / "a.png")
    (tmp_path / "notes.txt").write_text("none")
    return tmp_path


def test_folder_with_subfolders(folder: Path):
    pictures = PictureFolder(folder, ["cat", "dog"])
    assert pictures.image_ids == ["b.JPG", "below/a.png"]
    assert len(pictures) == 2
    assert pictures.image_sizes == [(3, 5), (4, 2)]
    assert pictures.image_path(1) == folder / "below" / "a.png"
    assert (pictures.classes, pictures.category_ids) == (["cat", "dog"], [1, 2])


def test_targets_are_empty(folder: Path):
    target = PictureFolder(folder, ["cat"]).targets[1]
    assert target.boxes.shape == (0, 4)
    assert (target.image_id, target.size) == ("below/a.png", (4, 2))


def test_one_picture(folder: Path):
    pictures = PictureFolder(folder / "below" / "a.png", ["cat"])
    assert pictures.image_ids == ["a.png"]
    assert pictures.image_sizes == [(4, 2)]


def test_category_ids_are_the_training_sets(folder: Path):
    assert PictureFolder(folder, ["cat", "dog"], [17, 18]).category_ids == [17, 18]


def test_rotated_picture_has_the_size_it_is_seen_in(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (5, 3)).save(tmp_path / "a.jpg", exif=exif)
    assert PictureFolder(tmp_path, []).image_sizes == [(5, 3)]


def test_batches_of_pictures(folder: Path):
    pictures = PreparedPictures(
        PictureFolder(folder, ["cat"]), DataConfig(short_side=32, max_side=64, flip=False)
    )
    ids = [batch.ids for batch in evaluation_batches(pictures, range(2))]
    assert ids == [["b.JPG"], ["below/a.png"]]
