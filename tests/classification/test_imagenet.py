import numpy as np
import pytest
import torch
from PIL import Image

from backbones import IMAGENET_INPUT, InputSpec
from classification.augment import centre_crop
from classification.config import DataConfig
from classification.imagenet import FolderPictures, class_folders
from engine.errors import UserError
from engine.images import load_image
from engine.sampler import Item

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
