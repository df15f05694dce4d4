import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from backbones import IMAGENET_INPUT, InputSpec
from classification.data import mean_picture
from classification.data.augment import centre_crop
from classification.config import DataConfig
from classification.data.class_folders import class_folders
from classification.data.picture_files import FolderPictures
from foundation.errors import UserError
from pictures.decoding import load_image, shrinking
from training.loader import Item

CONFIG = DataConfig(kind="folder", image_size=16, resize=20)


def test_classes_are_sorted_folders_and_labels_follow_them(folder_root):
    (folder_root / "val" / ".cache").mkdir()
    pictures = FolderPictures(folder_root, "val", CONFIG, training=False)
    assert pictures.classes == ["ape", "bee", "cow"]
    assert pictures.labels.tolist() == [0, 0, 1, 1, 2, 2]
    batch = pictures.read([Item(3, 0), Item(4, 0)])
    assert batch.ids == [str(folder_root / "val" / name) for name in ("bee/1.png", "cow/0.png")]
    assert batch.labels.tolist() == [1, 2]


def test_only_pictures_are_listed(folder_root):
    for name in ("notes.txt", "._0.png", "Thumbs.db"):
        (folder_root / "val" / "ape" / name).write_text("no picture")
    (folder_root / "val" / "ape" / "0.png").rename(folder_root / "val" / "ape" / "Übung 0.JPEG")
    pictures = FolderPictures(folder_root, "val", CONFIG, training=False)
    assert len(pictures) == 6
    ids = pictures.read([Item(0, 0), Item(1, 0)]).ids
    assert [path.rsplit("/", 1)[1] for path in ids] == ["1.png", "Übung 0.JPEG"]


def test_evaluation_sees_the_centre(folder_root):
    pictures = FolderPictures(folder_root, "val", CONFIG, training=False)
    batch = pictures.read([Item(0, 5)])
    assert batch.images.shape == (1, 3, 16, 16)
    assert batch.images.dtype == torch.uint8
    expected = centre_crop(load_image(batch.ids[0]), 20, 16)
    assert np.array_equal(batch.images[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("augment", ["paper", "inception"])
def test_the_seed_decides_a_training_picture(folder_root, augment):
    config = DataConfig(kind="folder", image_size=16, resize=20, augment=augment)
    pictures = FolderPictures(folder_root, "train", config, training=True)
    first, again, other = (pictures.read([Item(2, seed)]).images for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    neighbour = pictures.read([Item(5, 9), Item(2, 7)]).images[1:]
    assert torch.equal(first, neighbour), "a picture must not depend on the others of its batch"


def test_options_reach_the_pictures(folder_root):
    def view(**options):
        config = DataConfig(kind="folder", image_size=16, resize=20, **options)
        return FolderPictures(folder_root, "train", config, training=True).read([Item(0, 1)]).images

    assert not torch.equal(view(), view(augment="inception"))
    plain, shifted = view(pca_colour=0.0).int(), view(pca_colour=0.5).int()
    shift = (shifted - plain)[(plain > 70) & (plain < 185)]
    assert shift.any()
    assert len(shift.unique()) <= 3, "one shift for each of the three channels"


def test_prepare_normalises_with_imagenet_statistics_unless_told_otherwise(folder_root):
    pictures = FolderPictures(folder_root, "val", CONFIG, training=False)
    batch = pictures.read([Item(0, 0)])
    assert torch.equal(pictures.prepare(batch), IMAGENET_INPUT.normalise(batch.images))
    # Caffe's: blue first, 0 … 255.
    pictures.adopt(InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0))
    blue = batch.images[:, 2].float() - 103.53
    torch.testing.assert_close(pictures.prepare(batch)[:, 0], blue, rtol=0, atol=1e-4)
    assert FolderPictures(folder_root, "val", CONFIG, training=False).input_spec == IMAGENET_INPUT


def test_grey_pictures_have_three_equal_channels(folder_root):
    Image.fromarray(np.full((30, 30), 90, np.uint8)).save(folder_root / "val" / "ape" / "0.png")
    image = FolderPictures(folder_root, "val", CONFIG, training=False).read([Item(0, 0)]).images
    assert (image == 90).all()


@pytest.mark.parametrize("content", [b"", b"\x89PNG junk"])
def test_a_broken_picture_is_named(folder_root, content):
    path = folder_root / "val" / "bee" / "1.png"
    path.write_bytes(content)
    pictures = FolderPictures(folder_root, "val", CONFIG, training=False)
    with pytest.raises(UserError, match="replace the file or remove it") as caught:
        pictures.read([Item(0, 0), Item(3, 0)])
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_split_says_where_it_looked_and_what_belongs_there(folder_root):
    with pytest.raises(UserError) as caught:
        FolderPictures(folder_root, "valid", CONFIG, training=False)
    assert str(caught.value) == (
        f"no folder {folder_root / 'valid'}; expected one folder of pictures per class in it, as ImageNet's "
        "valid/n01440764/*.JPEG. Unpack the data set there, or set data.root or DATA_ROOT"
    )


def test_a_flat_validation_folder_is_explained(folder_root):
    (folder_root / "flat").mkdir()
    (folder_root / "flat" / "ILSVRC2012_val_00000001.JPEG").touch()
    with pytest.raises(
        UserError, match="holds no class folders; .*move its pictures into one folder per class"
    ):
        class_folders(folder_root, "flat")


def test_a_class_without_pictures_is_named(folder_root):
    (folder_root / "val" / "dog").mkdir()
    (folder_root / "val" / "dog" / "readme.txt").touch()
    with pytest.raises(UserError, match=r"val/dog holds no pictures \(.*\.jpeg.*\); fill it or remove it"):
        FolderPictures(folder_root, "val", CONFIG, training=False)


def test_real_imagenet_folders(real_data):
    pictures = FolderPictures(real_data / "imagenette", "val", CONFIG, training=False)
    assert (len(pictures), len(pictures.classes)) == (1000, 10)
    assert pictures.classes[0] == "n01440764"
    assert pictures.read([Item(0, 0), Item(999, 0)]).labels.tolist() == [0, 9]


def skipping(root, **options):
    config = DataConfig(kind="folder", root=str(root), image_size=16, resize=20, broken="skip", **options)
    return lambda training: FolderPictures(root, "train", config, training=training)


def test_a_broken_picture_is_left_out_of_its_training_batch(folder_root):
    path = folder_root / "train" / "bee" / "1.png"
    whole = skipping(folder_root)(True).read([Item(4, 7), Item(6, 9)])
    path.write_bytes(path.read_bytes()[:-40])
    pictures = skipping(folder_root)(True)
    batch = pictures.read([Item(4, 7), Item(5, 8), Item(6, 9)])
    for name in ("images", "labels", "seeds", "ids"):
        assert len(getattr(batch, name)) == 2
    assert torch.equal(batch.images, whole.images) and batch.ids == whole.ids
    assert batch.labels.tolist() == [1, 1] and batch.seeds.tolist() == [7, 9]
    (problem,) = batch.skipped
    assert problem.startswith(f"{path}: cannot be read as a picture") and whole.skipped == []
    assert batch.to("meta").skipped == batch.skipped
    with pytest.raises(
        UserError, match=r"all 2 pictures of a micro-batch are broken, the first: .*bee/1\.png"
    ):
        pictures.read([Item(5, 0), Item(5, 1)])
    with pytest.raises(UserError, match=r"^.*bee/1\.png: cannot be read"):
        skipping(folder_root)(False).read([Item(4, 0), Item(5, 0)])  # evaluation


def test_mean_picture_by_hand(folder_root):
    # 16 pixels of a short side of 16 / 0.875 are the central 35x35 of 40x48, resized.
    for name, colour in (("ape", (0, 0, 0)), ("bee", (30, 60, 90)), ("cow", (255, 0, 3))):
        for number in range(4):
            image = Image.new("RGB", (48, 40), colour)
            image.paste((200, 200, 200), (0, 0, 6, 40))  # left of the crop, which begins at 6.5 pixels
            image.save(folder_root / "train" / name / f"{number}.png")
    config = DataConfig(kind="folder", root=str(folder_root), image_size=16, resize=20, mean="pixel")
    pictures = FolderPictures(folder_root, "val", config, training=False)
    # (0 + 30 + 255) / 3 = 95, (0 + 60 + 0) / 3 = 20, (0 + 90 + 3) / 3 = 31; the resize blurs the border in.
    expected = torch.tensor([95.0, 20.0, 31.0]).view(3, 1, 1) / 255
    torch.testing.assert_close(pictures.mean[:, :, 2:], expected.expand(3, 16, 14))
    batch = pictures.read([Item(0, 0)])
    torch.testing.assert_close(pictures.prepare(batch), (batch.images / 255 - pictures.mean))
    channels = tuple(pictures.mean.double().mean(dim=(1, 2)).tolist())
    assert pictures.input_spec == InputSpec(mean=channels, std=(1.0, 1.0, 1.0))


def test_mean_picture_is_a_mean_over_pictures_of_each_pixel(folder_root, monkeypatch):
    config = DataConfig(kind="folder", root=str(folder_root), image_size=16, resize=40, mean="pixel")
    pictures = FolderPictures(folder_root, "val", config, training=False)
    crops = [
        centre_crop(load_image(path), 16 * 256 / 224, 16)
        for path in sorted((folder_root / "train").glob("*/*.png"))
    ]
    expected = torch.from_numpy(np.mean(crops, axis=0) / 255).permute(2, 0, 1).float()
    torch.testing.assert_close(pictures.mean, expected)
    # In three batches by two workers, the sums are the same integers.
    monkeypatch.setattr(mean_picture, "BATCH", 5)
    mean_picture._mean_picture.cache_clear()
    again = FolderPictures(folder_root, "train", config, training=True)
    assert torch.equal(again.mean, pictures.mean)
    # Of six pictures, every second.
    monkeypatch.setattr(mean_picture, "MOST", 6)
    mean_picture._mean_picture.cache_clear()
    expected = torch.from_numpy(np.mean(crops[::2], axis=0) / 255).permute(2, 0, 1).float()
    torch.testing.assert_close(FolderPictures(folder_root, "val", config, training=False).mean, expected)


def test_mean_picture_goes_with_its_network_alone(folder_root):
    config = DataConfig(kind="folder", root=str(folder_root), image_size=16, resize=20, mean="pixel")
    pictures = FolderPictures(folder_root, "val", config, training=False)
    trained = pictures.input_spec
    pictures.adopt(trained)
    with pytest.raises(
        UserError, match="the network was trained on .*0.485.*; leave data.mean, data.image_size"
    ):
        pictures.adopt(IMAGENET_INPUT)
    # Pictures of another size than that of training have only the channel means.
    pictures.config = DataConfig(kind="folder", image_size=20, resize=20, mean="pixel")
    batch = pictures.read([Item(0, 0)])
    assert torch.equal(pictures.prepare(batch), trained.normalise(batch.images))


def test_mean_picture_leaves_out_broken_pictures_only_by_choice(folder_root, caplog):
    (folder_root / "train" / "bee" / "1.png").write_bytes(b"")
    whole = skipping(folder_root, mean="pixel")(False).mean
    skipping(folder_root, mean="pixel")(True)
    (message,) = [record.getMessage() for record in caplog.records]
    broken = folder_root / "train" / "bee" / "1.png"
    assert message.startswith(f"left out of the mean picture, number 1: {broken}: the file is empty")
    crops = [
        centre_crop(load_image(path), 16 * 256 / 224, 16)
        for path in sorted((folder_root / "train").glob("*/*.png"))
        if path.stat().st_size
    ]
    torch.testing.assert_close(whole, torch.from_numpy(np.mean(crops, axis=0) / 255).permute(2, 0, 1).float())
    config = DataConfig(kind="folder", root=str(folder_root), image_size=16, resize=20, mean="pixel")
    with pytest.raises(UserError, match=r"bee/1\.png: the file is empty"):
        FolderPictures(folder_root, "val", config, training=False)


def test_a_mean_picture_of_broken_pictures_alone_is_refused(folder_root):
    for path in (folder_root / "train").glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"all 12 pictures of the mean .* broken, the first: .*ape/0\.png"):
        skipping(folder_root, mean="pixel")(False)


@pytest.fixture
def odd_pictures(real_data, tmp_path):
    """All odd pictures as one class, and what Pillow 13 does with each."""
    (tmp_path / "odd" / "train").mkdir(parents=True)
    (tmp_path / "odd" / "train" / "all").symlink_to(real_data / "odd_images")
    entries = json.loads((real_data / "odd_images" / "manifest.json").read_text())["images"]
    config = DataConfig(kind="folder", image_size=32, resize=36, pca_colour=0.0)
    views = [FolderPictures(tmp_path / "odd", "train", config, training=flag) for flag in (True, False)]
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
