"""Random augmentation and erasing: seeds decide everything, nothing else is touched."""

import pickle
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from classification.data.augment import MEAN_COLOUR, CropPolicy, build_policy
from classification.data.class_folders import list_folder
from classification.data.data_sets import DataConfig
from classification.data.encoded_pictures import EncodedPictures
from foundation.errors import UserError
from training.loader import Item

NAMES = ["trivial", "rand", "auto", "rand-m7-mstd0.5-inc1"]


def policy(policy: str | None = None, erase: float = 0.0) -> CropPolicy:
    return CropPolicy(policy, erase, 32)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_without_options_the_picture_itself_comes_back(picture: np.ndarray):
    assert policy()(picture, 3) is picture


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_everything(name: str, picture: np.ndarray):
    pytest.importorskip("timm")
    change = policy(policy=name, erase=0.5)
    first = [change(picture, seed) for seed in range(20)]
    assert all(view.shape == (32, 32, 3) and view.dtype == np.uint8 for view in first)
    assert len({view.tobytes() for view in first}) > 10
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    other = pickle.loads(pickle.dumps(change))  # as a worker gets it
    assert all(np.array_equal(other(picture, seed), first[seed]) for seed in reversed(range(20)))


@pytest.mark.parametrize("name", NAMES)
def test_global_generators_are_left_as_they_were(name: str, picture: np.ndarray):
    pytest.importorskip("timm")
    change = policy(policy=name, erase=0.5)
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = random.random(), np.random.rand(), torch.rand(())
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    for seed in range(5):
        change(picture, seed)
    assert (random.random(), np.random.rand(), torch.rand(())) == expected


def test_erasing_paints_a_rectangle_in_the_mean_colour():
    white = np.full((40, 40, 3), 255, np.uint8)
    change = policy(erase=1.0)
    for seed in range(10):
        view = change(white, seed)
        erased = (view == MEAN_COLOUR).all(axis=2)
        rows, columns = erased.any(axis=1), erased.any(axis=0)
        assert np.array_equal(erased, rows[:, None] & columns) and (view[~erased] == 255).all()
        assert 0.015 < erased.mean() < 0.35  # 2 to 33 % of the area, rounded to pixels
    assert (white == 255).all()


def test_how_often_a_picture_is_erased():
    white = np.full((16, 16, 3), 255, np.uint8)
    change = policy(erase=0.3)
    assert np.mean([(change(white, seed) != 255).any() for seed in range(400)]) == pytest.approx(
        0.3, abs=0.07
    )


def test_a_mirrored_view_is_taken(picture: np.ndarray):
    mirrored = picture[:, ::-1]  # of negative stride, as the flip leaves it
    change = policy(policy="trivial", erase=0.5)
    assert np.array_equal(change(mirrored, 3), change(mirrored.copy(), 3))


def test_timms_policies_without_timm(folder_root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm.data.auto_augment", None)
    policy(policy="rand")
    config = DataConfig(kind="folder", policy="rand-m7")
    EncodedPictures(
        list_folder(folder_root, "val"), config, training=False
    )  # evaluation needs nothing of timm
    with pytest.raises(
        UserError, match=r'is timm\'s; install it with pip install "residual-backbones\[timm\]"'
    ):
        policy(policy="rand-m7")


@pytest.mark.parametrize(
    "option", ["m0", "m10", "n1", "n12", "p0", "p0.5", "p1.0", "mstd0.5", "mmax12", "inc1"]
)
def test_timm_takes_each_option(option: str):
    pytest.importorskip("timm")
    name = DataConfig(kind="folder", policy=f"rand-{option}").policy
    assert callable(build_policy(name, 32))


def test_training_crops_are_changed_and_evaluation_is_not(folder_root: Path):
    options = {"image_size": 16, "eval_size": 24, "resize": 32, "short_side": (20, 20), "pca_colour": 0}
    plain, changed = (
        DataConfig(kind="folder", **options, **more) for more in ({}, {"policy": "trivial", "erase": 0.5})
    )
    items = [Item(index, 7 * index) for index in range(6)]
    for training, size in ((True, 16), (False, 24)):
        first, second = (
            EncodedPictures(list_folder(folder_root, "val"), config, training=training).read(items).images
            for config in (plain, changed)
        )
        assert first.shape == second.shape == (6, 3, size, size)
        assert torch.equal(first, second) != training
