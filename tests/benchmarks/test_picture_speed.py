"""Both sides of the picture benchmark make crops of the same kind; no timing decides here."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import picture_speed
from benchmarks.picture_speed import (
    area_box,
    augmentation_calls,
    crop_error,
    generate,
    is_usual,
    photographs,
    picture_calls,
    pixel_errors,
    read_crops,
)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three generated photographs in VOC's layout, beside two pictures of another size and kind."""
    folder = tmp_path / "VOCdevkit" / "VOC2007" / "JPEGImages"
    folder.mkdir(parents=True)
    for seed in range(3):
        (folder / f"{seed}.jpg").write_bytes(generate(seed))
    Image.new("RGB", (500, 333)).save(folder / "3.jpg")
    Image.new("L", (375, 500)).save(folder / "4.jpg")
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    return [generate(seed) for seed in range(3)]


def test_photographs_are_those_of_the_usual_size(files):
    ((name, found),) = photographs().items()
    assert name.startswith("3 of VOC2007, ") and found == files
    assert all(map(is_usual, files)) and 50e3 < len(files[0]) < 150e3


def test_without_photographs_some_are_generated(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    ((name, found),) = photographs(count=2).items()
    assert name.startswith("2 of generated, ") and found == [generate(0), generate(1)]


def test_both_sides_give_crops_of_the_same_size(files):
    calls = list(picture_calls("cpu"))
    assert len(calls) == 5
    for _, ours, peer in calls[2:4]:
        for crops in (ours(), peer()):
            assert crops.shape == (3, 3, 224, 224) and crops.dtype == torch.uint8
        # Crops of one picture: alike in brightness, but not the same.
        assert abs(ours().float().mean() - peer().float().mean()) < 40
    assert torch.equal(read_crops(files, area_box), read_crops(files, area_box))


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")  # of torchvision, by torchvision
def test_all_decoders_give_the_same_pixels(files):
    pillow, torchvision = (decode(files[0]) for decode in picture_speed.DECODERS.values())
    assert np.array_equal(pillow, torchvision.permute(1, 2, 0).numpy())
    assert np.array_equal(pillow, picture_speed.decode_image(files[0], ""))


def test_augmentation_runs_on_both_sides(monkeypatch):
    batches = []
    monkeypatch.setattr(picture_speed, "augmented", lambda images, *_: batches.append(images))
    _, ours, peer = augmentation_calls()
    ours(), peer()
    assert len(batches) == 10 and batches[0].shape == (128, 3, 32, 32)


def test_errors_are_those_of_the_pixels(files, monkeypatch):
    assert crop_error(files[0], np.random.default_rng(0), 224) < 0.5
    exact = picture_speed.decode_crop
    monkeypatch.setattr(picture_speed, "decode_crop", lambda *arguments: exact(*arguments).astype(int) + 3)
    assert crop_error(files[0], np.random.default_rng(0), 224) == pytest.approx(3, abs=0.5)
    assert [line.split()[2] for line in pixel_errors()] == ["224", "40"]
