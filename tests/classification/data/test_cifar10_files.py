import logging
import pickle
from pathlib import Path

import numpy as np
import pytest

from classification.data import cifar10 as cifar
from classification.data.cifar10 import Cifar10, read_batch_file, read_class_names
from foundation.errors import UserError
from foundation.pickles import read_arrays

LABELS = [i % 10 for i in range(10_000)]

# {"data": array of 1 2 3 4 in shape (1, 4)} as Python 2 and NumPy 1 wrote it: the official files' form.
PYTHON_2 = (
    b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x01"
    b"K\x04\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    b"U\x04\x01\x02\x03\x04tbs."
)


def write(path: Path, data: object, labels: object = LABELS) -> Path:
    path.write_bytes(pickle.dumps({b"data": data, b"labels": labels}, protocol=3))
    return path


@pytest.fixture(scope="module")
def zeros() -> np.ndarray:
    return np.zeros((10_000, 3072), np.uint8)


def test_pixel_order_is_rows_of_red_then_green_then_blue(cifar_root):
    images, labels = read_batch_file(cifar_root / "test_batch")
    assert images.shape == (10_000, 3, 32, 32)
    assert images[0, 0, 0, :4].tolist() == [1, 2, 3, 0]
    assert images[0, :, 0, 0].tolist() == [1, 4, 0]
    assert labels.tolist() == LABELS
    assert labels.dtype == np.int64


def test_the_official_form_of_arrays():
    assert read_arrays(PYTHON_2, text="bytes")[b"data"].tolist() == [[1, 2, 3, 4]]


def test_numpy_never_sees_a_dtype_of_the_file():
    # NumPy 2.4 answers these flags with SystemError; other damage in this place, found by fuzzing, crashes.
    hostile = PYTHON_2.replace(b"K\x00tb\x89", b"K\x7ftb\x89")
    assert hostile != PYTHON_2
    assert read_arrays(hostile, text="bytes")[b"data"].tolist() == [[1, 2, 3, 4]]


class Intruder:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, name):
    sign = tmp_path / "was_here"
    (tmp_path / name).write_bytes(pickle.dumps({b"data": Intruder(sign), b"label_names": Intruder(sign)}))
    read = read_batch_file if name == "test_batch" else read_class_names
    with pytest.raises(UserError, match=r"it holds pathlib\.\S+, which was not run") as caught:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert not sign.exists()


@pytest.mark.parametrize(
    "labels", [[*LABELS[:-1], 10], [-1, *LABELS[1:]], LABELS[:-1], [0.5] * 10_000, ["a"] * 10_000]
)
def test_wrong_labels_are_refused(tmp_path, zeros, labels):
    path = write(tmp_path / "test_batch", zeros, labels)
    with pytest.raises(UserError, match="test_batch: labels must be 10000 integers from 0 to 9"):
        read_batch_file(path)


def test_labels_of_lists_that_share_lists_are_refused(tmp_path, zeros):
    shared: list = [0]
    for _ in range(14):
        shared = [shared, shared]
    path = write(tmp_path / "test_batch", zeros, [shared, *LABELS[1:]])
    with pytest.raises(UserError, match=r"test_batch: not a CIFAR-10 python batch \(labels must be whole"):
        read_batch_file(path)


def test_too_few_pictures_are_refused(tmp_path, zeros):
    path = write(tmp_path / "test_batch", zeros[:9_999])
    with pytest.raises(UserError, match=r"pictures must be \(10000, 3072\) uint8, got \(9999, 3072\)"):
        read_batch_file(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not found</html>",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": [0], b"labels": LABELS}),
        pickle.dumps({b"data": np.zeros((10, 3072)), b"labels": LABELS}, protocol=3),
        pickle.dumps({b"data": np.zeros((10_000, 30), np.uint8)}, protocol=3)[:-1000],
    ],
    ids=["empty", "web page", "list", "no array", "float64", "cut off"],
)
def test_what_is_no_batch_is_refused(tmp_path, content):
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(
        UserError, match="test_batch: not a CIFAR-10 python batch .*download https://www.cs.toronto"
    ):
        read_batch_file(tmp_path / "test_batch")


def test_missing_files_say_where_and_what(tmp_path):
    expected = f"CIFAR-10: no file {tmp_path / 'none' / 'test_batch'}; download https://www.cs.toronto.edu"
    with pytest.raises(UserError) as caught:
        Cifar10(tmp_path / "none", "test", train_split="train")
    assert str(caught.value).startswith(expected)
    assert "DATA_ROOT" in str(caught.value)


def test_the_archive_itself_is_not_the_folder(tmp_path):
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.touch()
    with pytest.raises(UserError, match="no file .*tar.gz/test_batch; download"):
        Cifar10(archive, "test", train_split="train")


def test_class_names(cifar_root, tmp_path):
    names = read_class_names(cifar_root / "batches.meta")
    assert names[0] == "airplane"
    assert len(names) == 10
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat"]}, protocol=3))
    with pytest.raises(UserError, match="expected 10 class names, got 1"):
        read_class_names(tmp_path / "batches.meta")


def test_only_other_than_official_files_are_reported(cifar_root, caplog, monkeypatch):
    path = cifar_root / "test_batch"
    with caplog.at_level(logging.WARNING):
        read_batch_file(path)
    assert caplog.messages == [f"{path} is not the official file (md5 differs); its structure is checked"]
    caplog.clear()
    monkeypatch.setitem(cifar.MD5, "test_batch", cifar.hashlib.md5(path.read_bytes()).hexdigest())
    read_batch_file(path)
    assert caplog.messages == []
