"""A Hugging Face data set gives the same pictures, labels and classes as the folders, by index."""

import sys

import pytest
import torch

from classification.data.class_folders import list_folder
from classification.data.data_sets import DataConfig
from classification.data.huggingface_reader import HuggingFaceReader
from classification.data.opened_splits import open_split
from foundation.errors import UserError


@pytest.fixture
def hugging_face_root(folder_root, tmp_path, monkeypatch):
    """The training pictures of `folder_root` as a local Hugging Face data set, without its names."""
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("timm")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    reader = list_folder(folder_root, "train")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=reader.classes),
            "year": datasets.Value("int32"),
        }
    )
    rows = {
        "image": [{"bytes": reader.content(i), "path": None} for i in range(12)],
        "label": reader.labels.tolist(),
        "year": [2015] * 12,
    }
    folder = tmp_path / "hf" / "data"
    folder.mkdir(parents=True)
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "train-00000-of-00001.parquet")
    return folder.parent


def test_the_first_epoch_of_a_hugging_face_data_set_is_that_from_folders(
    folder_root, hugging_face_root, first_epoch
):
    ours, theirs = (
        first_epoch(hugging_face_root, "huggingface", workers=2),
        first_epoch(folder_root, "folder"),
    )
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
    index = int(ours[0].ids[0].rsplit(" ", 1)[1])
    assert list_folder(folder_root, "train").name(index) == theirs[0].ids[0]
    assert HuggingFaceReader(str(hugging_face_root), "train", "image", "label").classes == [
        "ape",
        "bee",
        "cow",
    ]


@pytest.mark.parametrize(
    ("options", "split", "message"),
    [
        ({}, "test", r"split test: Unknown split \"test\".*; set data\.root to its name"),
        ({"picture_column": "img"}, "train", "has no column 'img', but image, label, year; set data.pic"),
        ({"label_column": "fine"}, "train", "has no column 'fine', but image, label, year; set data.pic"),
        ({"label_column": "year"}, "train", "column 'year' holds no class labels"),
        ({"root": "nowhere"}, "train", "cannot open the Hugging Face data set .*nowhere, split train: "),
    ],
)
def test_what_a_hugging_face_data_set_lacks_is_said(hugging_face_root, options, split, message):
    root = hugging_face_root / options.pop("root", "")
    config = DataConfig(kind="huggingface", root=str(root), train_split=split, **options)
    with pytest.raises(UserError, match=message):
        open_split(config, training=True)


@pytest.mark.parametrize(("labels", "without"), [([0, None], 1), ([None, 1], 0)])
def test_a_picture_without_label_in_a_hugging_face_data_set_is_named(hugging_face_root, labels, without):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (path,) = hugging_face_root.glob("data/*.parquet")
    table = parquet.read_table(path)[:2].set_column(1, "label", arrow.array(labels, arrow.int64()))
    parquet.write_table(table, path)
    with pytest.raises(UserError, match=f"picture {without} has no label; choose a split with labels"):
        HuggingFaceReader(str(hugging_face_root), "train", "image", "label")


def test_hugging_face_without_its_library_says_what_to_install(monkeypatch, tmp_path):
    for module in ("datasets", "timm.data.readers.reader_hfds"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        UserError, match=r'needs timm and datasets .*pip install "residual-backbones\[datasets\]"'
    ):
        HuggingFaceReader(str(tmp_path), "train", "image", "label")
