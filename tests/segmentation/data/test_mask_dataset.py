import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foundation.errors import UserError
from segmentation.data.mask_dataset import JoinedLabels, MaskDataset, pictures_by_stem
from segmentation.types import IGNORED
from tests.segmentation.conftest import save


@pytest.fixture
def two(tmp_path: Path) -> MaskDataset:
    """Pictures a (2 x 3) and b (1 x 2) of classes "x" and "y"."""
    maps = {"a": [[0, 1, 255], [1, 1, 0]], "b": [[0, 0]]}
    masks = [save(tmp_path / f"{name}.png", labels) for name, labels in maps.items()]
    pictures = [save(tmp_path / f"{n}.jpg", np.zeros((*np.shape(m), 3))) for n, m in maps.items()]
    return MaskDataset(pictures, masks, ["x", "y"], ids=["a", "b"])


def test_what_a_data_set_gives(two: MaskDataset, tmp_path: Path):
    assert (len(two), two.classes, two.has_truth) == (2, ["x", "y"], True)
    assert (two.image_id(1), two.image_path(1), two.mask_path(1)) == (
        "b",
        tmp_path / "b.jpg",
        tmp_path / "b.png",
    )
    assert two.image_size(0) == (2, 3)
    assert two.load_labels(0).tolist() == [[0, 1, IGNORED], [1, 1, 0]]
    assert np.array_equal(pickle.loads(pickle.dumps(two)).load_labels(0), two.load_labels(0))


def test_unknown_truth_is_ignored_everywhere(two: MaskDataset):
    secret = MaskDataset([two.image_path(0)], None, ["x"], ids=["a"])
    assert not secret.has_truth and secret.mask_path(0) is None
    assert secret.load_labels(0).tolist() == [[IGNORED] * 3] * 2
    assert len(secret.fingerprint()) == 16


def test_indices_of_no_class_name_the_file(two: MaskDataset, tmp_path: Path):
    save(tmp_path / "b.png", [[0, 2]])
    with pytest.raises(UserError, match=r"b\.png: holds the index 2 at row 0, column 1"):
        two.load_labels(1)


def test_the_fingerprint_is_of_names_classes_and_pixels(two: MaskDataset, tmp_path: Path):
    before = two.fingerprint()
    pictures, masks = [two.image_path(i) for i in (0, 1)], [tmp_path / "a.png", tmp_path / "b.png"]
    assert MaskDataset(pictures, masks, ["x", "y"], ids=["a", "b"]).fingerprint() == before
    assert MaskDataset(pictures, masks, ["x", "y"], ids=["a", "c"]).fingerprint() != before
    assert MaskDataset(pictures, masks, ["x", "z"], ids=["a", "b"]).fingerprint() != before
    save(tmp_path / "b.png", [[0, 1]])
    assert two.fingerprint() != before


def test_a_turned_picture_has_the_size_of_its_label_map(tmp_path: Path):
    image = Image.fromarray(np.zeros((2, 3, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # stored lying, seen standing: 3 high, 2 wide
    image.save(tmp_path / "a.jpg", exif=exif)
    for shape in ((3, 2), (2, 3)):
        mask = save(tmp_path / "a.png", np.zeros(shape))
        assert MaskDataset([tmp_path / "a.jpg"], [mask], ["x"], ids=["a"]).image_size(0) == shape


def test_a_name_twice(two: MaskDataset):
    with pytest.raises(UserError, match="picture a is in the set a second time"):
        MaskDataset([two.image_path(0)] * 2, None, ["x"], ids=["a", "a"])


def test_joined(two: MaskDataset):
    third = MaskDataset([two.image_path(1)], [Path(str(two.mask_path(1)))], ["x", "y"], ids=["c"])
    joined = JoinedLabels([two, third], "p+q")
    assert [joined.image_id(index) for index in range(len(joined))] == ["a", "b", "c"]
    assert joined.image_path(2) == two.image_path(1) and joined.image_size(0) == (2, 3)
    assert joined.load_labels(2).tolist() == [[0, 0]]
    assert joined.has_truth and joined.classes == ["x", "y"]
    assert joined.fingerprint() != JoinedLabels([third, two], "q+p").fingerprint()
    with pytest.raises(UserError, match=r"picture a is in two parts of p\+p"):
        JoinedLabels([two, two], "p+p")
    with pytest.raises(UserError, match="different classes, the first that differ are 'y' and 'z'"):
        JoinedLabels([two, MaskDataset([], None, ["x", "z"], ids=[])], "p+q")


def test_pictures_of_a_folder(tmp_path: Path):
    for name in ("b.jpg", "a.PNG", ".c.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert pictures_by_stem(tmp_path, "") == {"a": tmp_path / "a.PNG", "b": tmp_path / "b.jpg"}
    (tmp_path / "a.jpg").touch()
    with pytest.raises(UserError, match=r"a\.PNG and a\.jpg differ in suffix alone"):
        pictures_by_stem(tmp_path, "")
    with pytest.raises(UserError, match="none: no such folder; unpack it"):
        pictures_by_stem(tmp_path / "none", "unpack it")
