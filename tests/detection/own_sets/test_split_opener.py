"""Splits that are opened several times in one command."""

import logging
from collections.abc import Callable

import pytest

from detection.data.dataset_splits import DataConfig, open_dataset
from detection.own_sets.split_opener import SplitOpener

FILES = {
    "images/train/a.jpg": None,
    "labels/train/a.txt": "0 0.5 0.5 0.2 0.2",
    "images/val/b.jpg": None,
    "labels/val/b.txt": "0 0.5 0.5 0.5 0.5",
    "data.yaml": "train: images/train\nval: images/val\ntest: images/none\nnames: [cat]\n",
}


@pytest.fixture
def config(place: Callable) -> DataConfig:
    return DataConfig(kind="yolo", root=str(place(FILES)))


def test_each_fact_is_told_once(config: DataConfig, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    opened = SplitOpener()
    for split in ("train", "val", "train"):
        opened(config, split)
        assert opened.layouts(config, split) is opened.layouts(config, split)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(set(told)) == 3  # images/none is missing, and both splits
    assert opened(config, "val").fingerprint() == open_dataset(config, "val").fingerprint()


def test_released_contents_are_read_anew_and_open_sets_stay(config: DataConfig):
    opened = SplitOpener()
    dataset, layouts = opened(config, "train"), opened.layouts(config, "train")
    opened.release()
    assert opened(config, "train") is dataset
    assert opened.layouts(config, "train") == layouts and opened.layouts(config, "train") is not layouts


def test_kinds_that_open_their_sets_themselves(coco_root: object):
    config, opened = DataConfig(kind="coco", root=str(coco_root), train="val", val="val"), SplitOpener()
    assert opened.layouts(config, "val") is None
    assert opened(config, "val") is opened(config, "val")
    assert opened(config, "val").fingerprint() == open_dataset(config, "val").fingerprint()
