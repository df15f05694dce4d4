import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backbones import IMAGENET_INPUT, InputSpec
from classification.data.cifar10 import VIEWS, Cifar10, all_views, crop_and_flip, pixel_mean, read_split
from classification.data.labelled_batches import Batch
from foundation.errors import UserError
from training.loader import Item
from training.seeding import item_seed

CENTRE = 4 + 9 * 4  # seed of the crop that cuts the old picture out again: row 4, column 4, no flip
FLIP = 81


@pytest.fixture(scope="module")
def training(cifar_root: Path) -> Cifar10:
    return Cifar10(cifar_root, "train", train_split="train", training=True)


@pytest.fixture(scope="module")
def testing(cifar_root: Path) -> Cifar10:
    return Cifar10(cifar_root, "test", train_split="train")


def test_crop_and_flip_by_hand():
    # A 4x4 picture of 1 … 16 in a border of 4 zeros; its rows and columns are 4 … 7 of 12.
    picture = torch.arange(1.0, 17).view(1, 1, 4, 4)

    def view(top, left, flip):
        return crop_and_flip(picture, torch.tensor([top + 9 * left + FLIP * flip])).int().squeeze().tolist()

    assert view(4, 4, 0) == picture.int().squeeze().tolist()
    assert view(4, 4, 1) == [[4, 3, 2, 1], [8, 7, 6, 5], [12, 11, 10, 9], [16, 15, 14, 13]]
    # Rows 5 … 8: the second row to one below the last. Columns 3 … 6: one left of the first to the third.
    assert view(5, 3, 0) == [[0, 5, 6, 7], [0, 9, 10, 11], [0, 13, 14, 15], [0, 0, 0, 0]]
    assert view(5, 3, 1) == [[7, 6, 5, 0], [11, 10, 9, 0], [15, 14, 13, 0], [0, 0, 0, 0]]
    assert view(8, 4, 0) == [[0] * 4] * 4
    assert view(1, 8, 0) == [[0] * 4] * 4
    assert view(1, 4, 0) == [[0] * 4] * 3 + [[1, 2, 3, 4]]


def test_every_picture_has_its_own_crop():
    pictures = torch.rand(6, 3, 32, 32)
    seeds = torch.tensor([item_seed(0, 0, i) for i in range(6)])
    together = crop_and_flip(pictures, seeds)
    for i in range(6):
        assert torch.equal(together[i], crop_and_flip(pictures[i : i + 1], seeds[i : i + 1])[0])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_view_is_that_of_the_plain_formula(layout, dtype):
    pictures = torch.randint(256, (VIEWS, 3, 7, 5)).to(dtype).contiguous(memory_format=layout)
    views = crop_and_flip(pictures, torch.arange(VIEWS))
    assert views.dtype == dtype
    assert torch.equal(views, plainly(pictures, torch.arange(VIEWS)))


def plainly(pictures: Tensor, seeds: Tensor) -> Tensor:
    """What `crop_and_flip` gives, picture by picture."""
    height, width = pictures.shape[2:]
    views = []
    for picture, seed in zip(pictures, seeds.tolist(), strict=True):
        top, left, flip = seed % 9, seed // 9 % 9, seed // 81 % 2
        view = F.pad(picture, [4] * 4)[:, top : top + height, left : left + width]
        views.append(view.flip(2) if flip else view)
    return torch.stack(views)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(None, id="mean picture"),
        pytest.param(InputSpec(mean=(0.49, 0.48, 0.45), std=(1, 1, 1)), id="channel means alone"),
        pytest.param(InputSpec(mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26)), id="and deviations"),
    ],
)
def test_training_pictures_are_to_the_bit_normalised_then_cropped(cifar_root, spec):
    training = Cifar10(cifar_root, "train", train_split="train", training=True)
    training.mean = torch.rand(3, 32, 32)
    training.mean_views = all_views(training.mean)
    training.per_pixel, training.input_spec = spec is None, spec or training.input_spec
    seeds = torch.tensor([item_seed(0, 0, i) for i in range(300)])
    images = torch.randint(256, (300, 3, 32, 32), dtype=torch.uint8)
    whole = images.float() / 255 - training.mean if spec is None else spec.normalise(images)
    prepared = training.prepare(Batch(images, torch.zeros(300), seeds, []))
    assert torch.equal(prepared, plainly(whole, seeds))


def test_item_seeds_reach_every_crop_about_equally():
    # 162 views; 16,200 seeds give each 100 on average, deviation 10. Outside 55 … 150 something is wrong.
    seeds = torch.tensor([item_seed(0, 0, i) for i in range(16_200)])
    views = seeds % 9 + 9 * (seeds // 9 % 9) + 81 * (seeds // 81 % 2)
    counts = torch.bincount(views, minlength=162)
    assert len(counts) == 162
    assert counts.min() > 55
    assert counts.max() < 150
    ramp = torch.arange(32.0 * 32).view(1, 1, 32, 32).expand(2000, -1, -1, -1)
    assert len(crop_and_flip(ramp, seeds[:2000]).flatten(1).unique(dim=0)) == len(views[:2000].unique())


def test_pixel_mean_by_hand():
    # Values 0 and 255, and 1 and 2: means 127.5 / 255 and 1.5 / 255.
    images = torch.tensor([[[[0, 1]]], [[[255, 2]]]], dtype=torch.uint8)
    torch.testing.assert_close(pixel_mean(images), torch.tensor([[[0.5, 1.5 / 255]]]), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("split", "length", "red"),
    [
        ("train", 50_000, {0: 10, 49_999: 50}),
        ("train45k", 45_000, {0: 10, 44_999: 50}),
        ("val5k", 5_000, {0: 50, 4_999: 50}),
        ("test", 10_000, {0: 1, 9_999: 0}),
    ],
)
def test_splits(cifar_root, split, length, red):
    images, labels = read_split(cifar_root, split)
    assert len(images) == len(labels) == length
    assert {i: int(images[i, 0, 0, 0]) for i in red} == red
    assert int(labels[0]) == (3 if split == "val5k" else 0)


def test_the_mean_is_that_of_the_training_split(cifar_root):
    # train: (10 + 20 + 30 + 40 + 50) / 5 = 30. train45k: (10 + 20 + 30 + 40 + 50 / 2) / 4.5 = 27.7778.
    for train_split, red in (("train", 30), ("train45k", 125 / 4.5)):
        data = Cifar10(cifar_root, "test", train_split=train_split)
        assert data.mean.shape == (3, 32, 32)
        assert data.input_spec.mean == pytest.approx((red / 255, 0, 0))
        assert data.input_spec.std == (1, 1, 1)
        assert torch.allclose(data.prepare(data.read([Item(5, 0)]))[0, 0], torch.tensor(-red / 255))


def test_training_border_is_zero_after_the_mean_is_subtracted(training):
    # Picture 0 is red 10, the mean 30: -20 / 255 inside. Crop from row 0, column 4: four border rows on top.
    view = training.prepare(training.read([Item(0, 0 + 9 * 4)]))[0]
    assert (view[:, :4] == 0).all()
    torch.testing.assert_close(view[0, 4:], torch.full((28, 32), -20 / 255))


def test_evaluation_neither_crops_nor_flips(testing):
    batch = testing.read([Item(0, 0), Item(3, FLIP)])
    assert torch.equal(testing.prepare(batch), batch.images / 255 - testing.mean)
    assert batch.labels.tolist() == [0, 3]
    assert batch.ids == ["test/0", "test/3"]


def test_seeds_decide_training_pictures(training):
    first, again, centre = (training.prepare(training.read([Item(7, seed)])) for seed in (11, 11, CENTRE))
    assert torch.equal(first, again)
    assert not torch.equal(first, centre)


def test_unknown_split_names_the_closest(tmp_path):
    with pytest.raises(UserError, match="CIFAR-10 has no split 'val'; did you mean 'val5k'?"):
        Cifar10(tmp_path, "val", train_split="train")


def test_only_a_network_of_the_same_mean_is_adopted(testing):
    red, green, blue = testing.input_spec.mean
    testing.adopt(InputSpec(mean=(red + 1e-8, green, blue), std=(1.0, 1.0, 1.0)))
    with pytest.raises(UserError, match="leave data.train_split as it was in training"):
        testing.adopt(InputSpec(mean=(red + 1e-4, green, blue), std=(1.0, 1.0, 1.0)))


def test_networks_of_others_get_their_own_normalisation(testing):
    batch = testing.read([Item(0, 0), Item(3, 0)])
    ours, own = testing.input_spec, testing.prepare(batch)
    testing.adopt(IMAGENET_INPUT)
    assert torch.equal(testing.prepare(batch), IMAGENET_INPUT.normalise(batch.images))
    testing.adopt(ours)
    assert torch.equal(testing.prepare(batch), own)


def test_real_pictures_have_the_published_means(real_data, tmp_path):
    command = [sys.executable, real_data / "cifar10" / "unpack.py", tmp_path, "--format", "batches"]
    subprocess.run(command, check=True, capture_output=True)
    data = Cifar10(tmp_path, "test", train_split="train")
    assert data.input_spec.mean == pytest.approx((0.49139968, 0.48215841, 0.44653091), abs=5e-8)
    assert data.classes[3] == "cat"
    assert torch.bincount(data.labels).tolist() == [1000] * 10
