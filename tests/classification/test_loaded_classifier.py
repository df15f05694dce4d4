"""A classifier called on pictures in Python sees and says what its evaluation sees and says."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

import classification
from classification.data.data_sets import DataConfig
from classification.data.opened_splits import open_split
from classification.loaded_classifier import Classification
from classification.score.saved_scores import load_scores
from classification.score.weight_evaluation import score_weights
from foundation.errors import UserError
from tests.classification.score.conftest import write_weights
from training.loader import Item

NAMES = ["ape", "bee", "cow"]


@pytest.fixture
def small(folder_root):
    return ["data.kind=folder", f"data.root={folder_root}", "data.image_size=16", "data.resize=20"]


def files_in_order(folder_root):
    return [folder_root / "val" / name / f"{number}.png" for name in NAMES for number in (0, 1)]


@pytest.mark.parametrize("mean", ["channel", "pixel"])
def test_probabilities_are_those_of_the_evaluation_to_the_bit(folder_root, small, tmp_path, mean):
    options = [*small, f"data.mean={mean}"]
    pictures = open_split(
        DataConfig("folder", str(folder_root), image_size=16, resize=20, mean=mean), training=False
    )
    write_weights(tmp_path / "w.safetensors", options, NAMES, spec=pictures.input_spec)
    score_weights(tmp_path / "w.safetensors", [], None, save_logits=tmp_path / "scores.npz")
    expected = load_scores(tmp_path / "scores.npz").log_probabilities.exp()
    classifier = classification.load(tmp_path / "w.safetensors", device="cpu")
    results = classifier(files_in_order(folder_root))
    assert torch.equal(torch.stack([result.probabilities for result in results]), expected)
    assert [result.label for result in results] == expected.argmax(1).tolist()


def test_every_form_of_a_picture_gives_the_same(folder_root, small, tmp_path):
    write_weights(tmp_path / "w.safetensors", small, NAMES)
    classifier = classification.load(tmp_path / "w.safetensors", device="cpu")
    path = folder_root / "val" / "bee" / "1.png"
    pixels = np.array(Image.open(path))
    forms = [path, str(path), Image.open(path), pixels, torch.from_numpy(pixels).permute(2, 0, 1)]
    first, *others = (classifier(form) for form in forms)
    assert isinstance(first, Classification)
    assert all(torch.equal(other.probabilities, first.probabilities) for other in others)
    assert classifier([]) == [] and len(classifier((path, pixels))) == 2
    # Whatever its mode, it does not train, and its mode stays.
    classifier.train()
    assert torch.equal(classifier(path).probabilities, first.probabilities) and classifier.network.training
    with pytest.raises(UserError, match="in place of a batch"):
        classifier(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_a_network_of_cifar_sees_whole_squares_less_the_mean_picture(
    cifar_root, tmp_path, monkeypatch, caplog
):
    options = ["data.kind=cifar10", f"data.root={cifar_root}", "data.val_split=test"]
    pictures = open_split(DataConfig("cifar10", str(cifar_root), val_split="test"), training=False)
    write_weights(tmp_path / "w.safetensors", options, pictures.classes, spec=pictures.input_spec)
    classifier = classification.load(tmp_path / "w.safetensors", device="cpu")
    inputs = []
    monkeypatch.setattr(
        classifier.network, "forward", lambda images: inputs.append(images) or torch.zeros(len(images), 10)
    )
    assert classifier(pictures.images[0]).score == pytest.approx(0.1)
    assert torch.equal(inputs[0], pictures.prepare(pictures.read([Item(0, 0)])))
    assert "mean picture" not in caplog.text
    # Without the training pictures their channel means do: here all pixels of a channel are the same.
    classifier = classification.load(
        tmp_path / "w.safetensors", device="cpu", overrides=[f"data.root={tmp_path / 'absent'}"]
    )
    assert classifier.mean is None and "The channel means are subtracted instead" in caplog.text
    monkeypatch.setattr(
        classifier.network, "forward", lambda images: inputs.append(images) or torch.zeros(len(images), 10)
    )
    classifier(np.zeros((64, 48, 3), np.uint8))
    assert inputs[1].shape == (1, 3, 32, 32)
    torch.testing.assert_close(inputs[1], inputs[0][..., -1:, -1:].expand(1, 3, 32, 32))


def test_a_converted_network_needs_no_data(tmp_path, small, caplog):
    write_weights(tmp_path / "w.safetensors", small, NAMES, config={}, classes=[])
    with caplog.at_level(logging.INFO):
        classifier = classification.load(tmp_path / "w.safetensors", device="cpu")
    assert classifier.classes == ["0", "1", "2"]
    assert (classifier.config.data.resize, classifier.config.data.image_size) == (32, 32)
    assert "assumed of resnet8_cifar" in caplog.text
    larger = classification.load(tmp_path / "w.safetensors", device="cpu", overrides=["data.resize=40"])
    assert larger.config.data.resize == 40


def test_a_result_tells_what_it_found():
    result = Classification(torch.tensor([0.25, 0.125, 0.625]), NAMES)
    assert (result.label, result.name, result.score) == (2, "cow", 0.625)
    assert result.top(2) == [("cow", 0.625), ("ape", 0.25)] and len(result.top()) == 3
    assert repr(result) == "Classification(cow 0.625, ape 0.250, bee 0.125; 3 classes)"
    with pytest.raises(UserError, match="count must be 1 class or more, got 0"):
        result.top(0)


def test_what_cannot_be_loaded_is_refused(tmp_path, small):
    write_weights(tmp_path / "w.safetensors", small, NAMES)
    with pytest.raises(UserError, match="data.image_sise: unknown key; did you mean 'data.image_size'"):
        classification.load(tmp_path / "w.safetensors", overrides=["data.image_sise=3"])
    with pytest.raises(UserError, match=r"device cpuu cannot be used \(.*\); leave it out, or give 'cpu'"):
        classification.load(tmp_path / "w.safetensors", device="cpuu")
    write_weights(tmp_path / "d.safetensors", small, NAMES, model="FasterRCNN", config={"backbone": {}})
    with pytest.raises(UserError, match="found those of a FasterRCNN; score it with tools/eval_det.py"):
        classification.load(tmp_path / "d.safetensors")
