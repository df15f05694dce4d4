"""Ten crops and whole pictures at several scales, beside the slowest and most obvious way to do the same."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import nn
from torchvision.transforms import v2

from backbones import create_backbone, create_model
from backbones.networks.vgg import VGG
from classification.data.class_folders import list_folder
from classification.data.data_sets import DataConfig
from classification.data.encoded_pictures import EncodedPictures
from classification.data.labelled_batches import Batch
from classification.score.picture_views import (
    Views,
    at_scales,
    corners_and_centre,
    fully_convolutional,
    scales_for,
    score_views,
    view_reader,
)
from foundation.errors import UserError
from training.loader import BatchLoader, Item


@pytest.fixture
def pictures(folder_root):
    """Six pictures, one of them upright and one square."""
    rng = np.random.default_rng(1)
    for name, size in (("ape/0.png", (48, 31)), ("cow/1.png", (37, 37))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder_root / "val" / name)
    config = DataConfig(kind="folder", root=str(folder_root), image_size=24, resize=32)
    return EncodedPictures(list_folder(folder_root, "val"), config, training=False)


@pytest.fixture
def network():
    """A small residual network whose normalisation does something."""
    torch.manual_seed(0)
    model = create_model("resnet8_cifar", num_classes=7)
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 24, 24))
        model.fc.weight.mul_(5)
    return model.eval()


def found(pictures, network, reader, batch_size=4):
    """Log probabilities of all pictures."""
    none = torch.zeros(0)
    prepare = lambda images: pictures.prepare(Batch(images, none, none, []))  # noqa: E731
    starts = range(0, len(pictures), batch_size)
    batches = [[Item(i, 0) for i in range(s, min(s + batch_size, len(pictures)))] for s in starts]
    with torch.no_grad():
        return torch.cat([score_views(network, reader(batch), prepare) for batch in batches])


def open_pictures(pictures):
    return [Image.open(pictures.read_whole(i)[2]).convert("RGB") for i in range(len(pictures))]


def to_input(pictures, image):
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in (pictures.input_spec.mean, pictures.input_spec.std)
    )
    return (pixels / 255 - mean) / std


def short_side(image, side):
    """The whole picture, resized by Pillow."""
    width, height = image.size
    if width < height:
        return image.resize((side, round(height * side / width)), Image.Resampling.BILINEAR)
    return image.resize((round(width * side / height), side), Image.Resampling.BILINEAR)


def test_ten_crops_are_the_mean_probability_of_each(pictures, network):
    reader = view_reader(pictures, pictures.config, "ten-crop")
    expected = []
    for image in open_pictures(pictures):
        whole = short_side(image, 32)
        probabilities = []
        for picture in (whole, ImageOps.mirror(whole)):
            right, bottom = picture.width - 24, picture.height - 24
            # Of the mirrored picture the middle is rounded to the other side.
            middle = right // 2 if picture is whole else right - right // 2
            for left, top in [(0, 0), (right, 0), (0, bottom), (right, bottom), (middle, bottom // 2)]:
                crop = picture.crop((left, top, left + 24, top + 24))
                with torch.no_grad():
                    probabilities.append(network(to_input(pictures, crop)).softmax(1))
        expected.append(torch.cat(probabilities).mean(0))
    difference = found(pictures, network, reader).exp() - torch.stack(expected)
    assert difference.abs().max() < 1e-5
    assert torch.stack(expected).std(0).min() > 1e-3, "a network that sees no difference tests nothing"


def test_the_five_crops_lie_where_torchvision_has_them():
    image = np.random.default_rng(0).integers(0, 256, (40, 53, 3), dtype=np.uint8)
    whole = v2.functional.to_image(short_side(Image.fromarray(image), 32))
    expected = v2.functional.five_crop(whole, [24, 24])
    crops = corners_and_centre(image, 32, 24)
    for crop, theirs in zip(crops, expected, strict=True):
        assert np.array_equal(crop, theirs.permute(1, 2, 0).numpy())


def test_dense_is_the_mean_of_the_classifier_as_a_convolution(pictures, network):
    scales = (16, 24, 40)
    reader = view_reader(pictures, pictures.config, "dense", scales)
    torch.manual_seed(0)
    backbone = create_backbone("resnet8_cifar", out_features=("res4",)).eval()
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}
    backbone.load_state_dict(state)
    expected = []
    for image in open_pictures(pictures):
        probabilities = []
        for scale in scales:
            for picture in (short_side(image, scale), ImageOps.mirror(short_side(image, scale))):
                with torch.no_grad():
                    features = backbone(to_input(pictures, picture))["res4"]
                    score_map = F.conv2d(features, network.fc.weight[:, :, None, None], network.fc.bias)
                probabilities.append(score_map.mean((2, 3)).softmax(1))
        expected.append(torch.cat(probabilities).mean(0))
    difference = found(pictures, fully_convolutional(network), reader).exp() - torch.stack(expected)
    assert difference.abs().max() < 1e-5
    assert torch.stack(expected).std(0).min() > 1e-3


@pytest.mark.parametrize("protocol", ["ten-crop", "dense"])
def test_neither_batches_nor_passes_nor_workers_change_a_score(pictures, network, protocol, monkeypatch):
    reader = view_reader(pictures, pictures.config, protocol)
    whole = found(pictures, network, reader, batch_size=6)
    monkeypatch.setattr("classification.score.picture_views.PIXELS", 1)
    torch.testing.assert_close(found(pictures, network, reader, batch_size=1), whole, rtol=0, atol=1e-5)
    (views,) = BatchLoader(reader, [[Item(i, 0) for i in range(6)]], 1)
    here = pickle.loads(pickle.dumps(reader))([Item(i, 0) for i in range(6)])
    assert views.ids == here.ids == [pictures.read_whole(i)[2] for i in range(6)]
    assert views.labels.tolist() == here.labels.tolist() == pictures.labels.tolist()
    for (of, images), (others, theirs) in zip(views.groups, here.groups, strict=True):
        assert torch.equal(of, others) and torch.equal(images, theirs)


def test_scales_keep_the_aspect_and_follow_the_crop():
    image = np.zeros((30, 61, 3), np.uint8)
    assert [view.shape for view in at_scales(image, (15, 30, 45))] == [(15, 30, 3), (30, 61, 3), (45, 92, 3)]
    assert np.array_equal(at_scales(image + 7, (30,))[0], image + 7)
    assert scales_for(224) == (224, 256, 384, 480, 640)
    assert scales_for(112) == (112, 128, 192, 240, 320)


def test_a_square_of_the_training_size_is_scored_as_by_vgg_itself():
    with torch.device("meta"):
        model = VGG(16, num_classes=5).eval()
    torch.manual_seed(0)  # the parts that count, at a thousandth of the size
    model.features = nn.Conv2d(3, 512, 32, stride=32)
    for place, layer in ((0, nn.Linear(512 * 49, 8)), (3, nn.Linear(8, 8)), (6, nn.Linear(8, 5))):
        model.classifier[place] = layer
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(fully_convolutional(model)(images), model(images), rtol=1e-4, atol=1e-5)
        wide = fully_convolutional(model)(F.pad(images, (0, 32, 0, 0)))
        # Two places a stride apart, each a region of 7x7 features, as fc6 takes it.
        features = model.features(F.pad(images, (0, 32, 0, 0)))
        places = [model.classifier(features[..., left : left + 7].flatten(1)) for left in (0, 1)]
        torch.testing.assert_close(wide, torch.stack(places).mean(0), rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="vgg16: fc6 takes features of at least 7x7, pictures of 224x160"):
        fully_convolutional(model)(torch.zeros(1, 3, 224, 160))


def test_moving_views_keeps_what_is_known_of_them():
    views = Views(
        [(torch.tensor([1, 0]), torch.zeros(2, 3, 4, 4, dtype=torch.uint8))], torch.tensor([3, 4]), ["a", "b"]
    )
    moved = views.to("cpu")
    assert moved.ids == ["a", "b"] and moved.labels.tolist() == [3, 4]
    assert moved.groups[0][0].tolist() == [1, 0] and moved.groups[0][1].dtype == torch.uint8


@pytest.mark.parametrize(
    ("protocol", "scales", "message"),
    [
        ("tencrop", (), "--protocol 'tencrop' is unknown; did you mean 'ten-crop'"),
        ("ten-crop", (224,), r"short sides in pixels for --protocol dense, got \[224\] for ten-crop"),
        ("dense", (224, 0), r"short sides in pixels for --protocol dense, got \[224, 0\]"),
    ],
)
def test_wrong_protocols(pictures, protocol, scales, message):
    with pytest.raises(UserError, match=message):
        view_reader(pictures, pictures.config, protocol, scales)


@pytest.mark.parametrize("protocol", ["ten-crop", "dense"])
def test_pictures_of_one_size_have_no_views(protocol):
    with pytest.raises(UserError, match=f"--protocol {protocol} cuts views of whole pictures, cifar10 has"):
        view_reader(nn.Identity(), DataConfig(kind="cifar10"), protocol)
    assert view_reader(nn.Identity(), DataConfig(kind="cifar10"), "centre") is None
