"""The mean picture: worked by hand, the same from any number of workers, and for its own network alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from backbones import IMAGENET_INPUT, InputSpec
from classification.data import encoded_pictures
from classification.data.augment import centre_crop
from classification.data.class_folders import list_folder
from classification.data.data_sets import DataConfig
from classification.data.encoded_pictures import EncodedPictures
from foundation.errors import UserError
from pictures.decoding import load_image
from training.loader import Item


def test_mean_picture_by_hand(folder_root):
    # 16 pixels of a short side of 16 / 0.875 are the central 35x35 of 40x48, resized.
    for name, colour in (("ape", (0, 0, 0)), ("bee", (30, 60, 90)), ("cow", (255, 0, 3))):
        for number in range(4):
            image = Image.new("RGB", (48, 40), colour)
            image.paste((200, 200, 200), (0, 0, 6, 40))  # left of the crop, which begins at 6.5 pixels
            image.save(folder_root / "train" / name / f"{number}.png")
    config = DataConfig(kind="folder", root=str(folder_root), image_size=16, resize=20, mean="pixel")
    pictures = EncodedPictures(list_folder(folder_root, "val"), config, training=False)
    # (0 + 30 + 255) / 3 = 95, (0 + 60 + 0) / 3 = 20, (0 + 90 + 3) / 3 = 31; the resize blurs the border in.
    expected = torch.tensor([95.0, 20.0, 31.0]).view(3, 1, 1) / 255
    torch.testing.assert_close(pictures.mean[:, :, 2:], expected.expand(3, 16, 14))
    batch = pictures.read([Item(0, 0)])
    torch.testing.assert_close(pictures.prepare(batch), (batch.images / 255 - pictures.mean))
    channels = tuple(pictures.mean.double().mean(dim=(1, 2)).tolist())
    assert pictures.input_spec == InputSpec(mean=channels, std=(1.0, 1.0, 1.0))


def test_mean_picture_is_a_mean_over_pictures_of_each_pixel(folder_root, monkeypatch):
    config = DataConfig(kind="folder", root=str(folder_root), image_size=16, resize=40, mean="pixel")
    pictures = EncodedPictures(list_folder(folder_root, "val"), config, training=False)
    crops = [
        centre_crop(load_image(path), 16 * 256 / 224, 16)
        for path in sorted((folder_root / "train").glob("*/*.png"))
    ]
    expected = torch.from_numpy(np.mean(crops, axis=0) / 255).permute(2, 0, 1).float()
    torch.testing.assert_close(pictures.mean, expected)
    # In three batches by two workers, the sums are the same integers.
    monkeypatch.setattr(encoded_pictures, "SUMMED_AT_ONCE", 5)
    encoded_pictures._mean_picture.cache_clear()
    again = EncodedPictures(list_folder(folder_root, "train"), config, training=True)
    assert torch.equal(again.mean, pictures.mean)
    # Of six pictures, every second.
    monkeypatch.setattr(encoded_pictures, "MOST_AVERAGED", 6)
    encoded_pictures._mean_picture.cache_clear()
    expected = torch.from_numpy(np.mean(crops[::2], axis=0) / 255).permute(2, 0, 1).float()
    torch.testing.assert_close(
        EncodedPictures(list_folder(folder_root, "val"), config, training=False).mean, expected
    )


def test_mean_picture_goes_with_its_network_alone(folder_root):
    config = DataConfig(kind="folder", root=str(folder_root), image_size=16, resize=20, mean="pixel")
    pictures = EncodedPictures(list_folder(folder_root, "val"), config, training=False)
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


def test_mean_picture_leaves_out_broken_pictures_only_by_choice(folder_root, skipping, caplog):
    (folder_root / "train" / "bee" / "1.png").write_bytes(b"")
    whole = skipping(False, mean="pixel").mean
    skipping(True, mean="pixel")
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
        EncodedPictures(list_folder(folder_root, "val"), config, training=False)


def test_a_mean_picture_of_broken_pictures_alone_is_refused(folder_root, skipping):
    for path in (folder_root / "train").glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"all 12 pictures of the mean .* broken, the first: .*ape/0\.png"):
        skipping(False, mean="pixel")
