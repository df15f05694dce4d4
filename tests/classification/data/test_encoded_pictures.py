import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from backbones import IMAGENET_INPUT, InputSpec
from classification.data import encoded_pictures as module
from classification.data.augment import centre_crop
from classification.data.class_folders import list_folder
from classification.data.data_sets import DataConfig
from classification.data.encoded_pictures import EncodedPictures
from foundation.errors import UserError
from pictures.decoding import load_image, shrinking
from training.loader import Item

CONFIG = DataConfig(kind="folder", image_size=16, resize=20)


def test_evaluation_sees_the_centre(folder_root):
    pictures = EncodedPictures(list_folder(folder_root, "val"), CONFIG, training=False)
    batch = pictures.read([Item(0, 5)])
    assert batch.images.shape == (1, 3, 16, 16)
    assert batch.images.dtype == torch.uint8
    expected = centre_crop(load_image(batch.ids[0]), 20, 16)
    assert np.array_equal(batch.images[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("augment", ["paper", "inception"])
def test_the_seed_decides_a_training_picture(folder_root, augment):
    config = DataConfig(kind="folder", image_size=16, resize=20, augment=augment)
    pictures = EncodedPictures(list_folder(folder_root, "train"), config, training=True)
    first, again, other = (pictures.read([Item(2, seed)]).images for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    neighbour = pictures.read([Item(5, 9), Item(2, 7)]).images[1:]
    assert torch.equal(first, neighbour), "a picture must not depend on the others of its batch"


def test_options_reach_the_pictures(folder_root):
    def view(**options):
        config = DataConfig(kind="folder", image_size=16, resize=20, **options)
        return (
            EncodedPictures(list_folder(folder_root, "train"), config, training=True)
            .read([Item(0, 1)])
            .images
        )

    assert not torch.equal(view(), view(augment="inception"))
    plain, shifted = view(pca_colour=0.0).int(), view(pca_colour=0.5).int()
    shift = (shifted - plain)[(plain > 70) & (plain < 185)]
    assert shift.any()
    assert len(shift.unique()) <= 3, "one shift for each of the three channels"


def test_prepare_normalises_with_imagenet_statistics_unless_told_otherwise(folder_root):
    pictures = EncodedPictures(list_folder(folder_root, "val"), CONFIG, training=False)
    batch = pictures.read([Item(0, 0)])
    assert torch.equal(pictures.prepare(batch), IMAGENET_INPUT.normalise(batch.images))
    # Caffe's: blue first, 0 … 255.
    pictures.adopt(InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0))
    blue = batch.images[:, 2].float() - 103.53
    torch.testing.assert_close(pictures.prepare(batch)[:, 0], blue, rtol=0, atol=1e-4)
    assert (
        EncodedPictures(list_folder(folder_root, "val"), CONFIG, training=False).input_spec == IMAGENET_INPUT
    )


def test_grey_pictures_have_three_equal_channels(folder_root):
    Image.fromarray(np.full((30, 30), 90, np.uint8)).save(folder_root / "val" / "ape" / "0.png")
    image = EncodedPictures(list_folder(folder_root, "val"), CONFIG, training=False).read([Item(0, 0)]).images
    assert (image == 90).all()


@pytest.mark.parametrize("content", [b"", b"\x89PNG junk"])
def test_a_broken_picture_is_named(folder_root, content):
    path = folder_root / "val" / "bee" / "1.png"
    path.write_bytes(content)
    pictures = EncodedPictures(list_folder(folder_root, "val"), CONFIG, training=False)
    with pytest.raises(UserError, match="replace the file or remove it") as caught:
        pictures.read([Item(0, 0), Item(3, 0)])
    assert str(caught.value).startswith(f"{path}: ")


def test_the_next_picture_stands_in_for_a_broken_one_of_training(folder_root, skipping):
    # Pictures 4 to 7 are bees, 8 to 11 cows; after the last comes the first.
    train = folder_root / "train"
    whole = skipping(True).read([Item(4, 7), Item(6, 8), Item(6, 9), Item(0, 3)])
    for name in ("bee/1.png", "cow/2.png", "cow/3.png"):
        (train / name).write_bytes((train / name).read_bytes()[:-40])
    pictures = skipping(True)
    batch = pictures.read([Item(4, 7), Item(5, 8), Item(6, 9), Item(10, 3)])
    for name in ("images", "labels", "seeds"):
        assert torch.equal(getattr(batch, name), getattr(whole, name)), name
    assert batch.ids == whole.ids and batch.labels.tolist() == [1, 1, 1, 0]
    starts = [f"{train / name}: cannot be read as a picture" for name in ("bee/1.png", "cow/2.png")]
    assert len(batch.skipped) == 2 and whole.skipped == []
    assert all(problem.startswith(start) for problem, start in zip(batch.skipped, starts, strict=True))
    assert batch.to("meta").skipped == batch.skipped
    with pytest.raises(UserError, match=r"^.*bee/1\.png: cannot be read"):
        skipping(False).read([Item(4, 0), Item(5, 0)])  # evaluation


@pytest.mark.parametrize(("most", "count"), [(3, 3), (100, 12)])
def test_many_broken_pictures_in_a_row_are_no_accident(folder_root, skipping, monkeypatch, most, count):
    monkeypatch.setattr(module, "MOST_BROKEN", most)
    pictures = skipping(True)
    assert pictures.read([Item(5, 0)]).skipped == []
    for path in (folder_root / "train").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(
        UserError, match=rf"^{count} pictures in a row are broken, the first: .*bee/1\.png: the file is empty"
    ):
        pictures.read([Item(5, 0)])


@pytest.fixture
def odd_pictures(real_data, tmp_path):
    """All odd pictures as one class, and what Pillow 13 does with each."""
    (tmp_path / "odd" / "train").mkdir(parents=True)
    (tmp_path / "odd" / "train" / "all").symlink_to(real_data / "odd_images")
    entries = json.loads((real_data / "odd_images" / "manifest.json").read_text())["images"]
    config = DataConfig(kind="folder", image_size=32, resize=36, pca_colour=0.0)
    views = [
        EncodedPictures(list_folder(tmp_path / "odd", "train"), config, training=flag)
        for flag in (True, False)
    ]
    assert len(views[0]) == len(entries) == 31
    return views, {entry["file"]: entry for entry in entries}


def slow_decode(path):
    """Pillow's own: upright, RGB, 16 bit scaled to 8."""
    with Image.open(path) as image:
        image.load()
        if image.mode.startswith("I"):
            grey = np.asarray(image).astype(np.uint32)
            return np.repeat(((grey + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
        rgb = image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB")
        return np.asarray(ImageOps.exif_transpose(rgb))


def cut(image, box, size):
    """The part of a picture, rounded as it is decoded, resized by Pillow."""
    grid = shrinking(box, size)
    left, top, right, bottom = (round(value / grid) * grid for value in box)
    extent = [max(round((high - low) / grid), 1) * grid for low, high in ((box[0], box[2]), (box[1], box[3]))]
    width, height = (image.shape[1] // grid * grid, image.shape[0] // grid * grid)
    left, top = min(left, width - extent[0]), min(top, height - extent[1])
    part = Image.fromarray(image).crop((left, top, left + extent[0], top + extent[1]))
    return np.asarray(part.resize((size, size), Image.Resampling.BILINEAR)).astype(int)


def test_odd_pictures_are_seen_rightly_or_refused_with_their_path(odd_pictures):
    (training, evaluation), manifest = odd_pictures
    refused, scaled = [], set()
    for index in range(len(training)):
        path = training.reader.name(index)
        entry = manifest[path.rsplit("/", 1)[1]]
        if entry.get("pil_load") != "ok":
            for pictures in (training, evaluation):
                with pytest.raises(UserError) as caught:
                    pictures.read([Item(index, 1)])
                assert str(caught.value).startswith(f"{path}: ")
            refused.append(entry["file"])
            continue
        whole = slow_decode(path)
        assert np.array_equal(evaluation.view(index, 0), centre_crop(whole, 36, 32)), path
        for seed in range(3):
            rng = np.random.default_rng(seed)
            box = training.crop_box(rng, *whole.shape[:2])
            seen = training.view(index, seed).astype(int)
            seen = seen[:, ::-1] if rng.random() < 0.5 else seen
            if shrinking(box, 32) == 1 or entry["format"] != "JPEG":
                assert np.abs(seen - cut(whole, box, 32)).max() <= 2, (path, seed)
            else:
                assert np.abs(seen - cut(whole, box, 32)).mean() <= 2, (path, seed)
                scaled.add(entry["file"])
    assert "imagenet_tall.JPEG" in scaled  # the others are turned, and so decoded whole
    assert sorted(refused) == [
        "broken.png",
        "derived_cut_half.jpg",
        "derived_empty.jpg",
        "truncated_image.png",
    ]
