"""A network of ImageNet by its published name: scored on some of its classes, and called from Python."""

import numpy as np
import pytest
import torch
from PIL import Image

import classification
from backbones import WeightsHeader, create_model, save_weights
from backbones.weights.downloads import digest
from backbones.weights.published import published_weights
from classification.score.saved_scores import load_scores
from classification.score.weight_evaluation import score_weights

NAME = "torchvision/resnet18.IMAGENET1K_V1"


@pytest.fixture
def cached(publisher):
    """The file that the name stands for, as it lies in the cache once it was fetched and converted."""
    network = create_model("resnet18")
    config = {"data": {"kind": "folder", "image_size": 64, "resize": 72}}
    header = WeightsHeader("resnet18", network.options, network.input_spec, dataset="ImageNet", config=config)
    path = published_weights()[NAME].path
    path.parent.mkdir(parents=True)
    save_weights(path, network.state_dict(), header)
    return path


@pytest.fixture
def folders(tmp_path):
    """A validation part with one picture each of English springer (217) and tench (0)."""
    for number, folder in enumerate(("n02102040", "n01440764")):
        pixels = np.random.default_rng(number).integers(0, 256, (80, 90, 3), dtype=np.uint8)
        (tmp_path / "imagenet" / "val" / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "imagenet" / "val" / folder / f"{number}.png")
    return tmp_path / "imagenet"


def test_a_name_is_scored_and_called(cached, folders, publisher, tmp_path):
    pytest.importorskip("timm")
    saved = tmp_path / "scores.npz"
    options = [f"data.root={folders}", "run.device=cpu", "run.workers=0"]
    result = score_weights(NAME, options, None, save_logits=saved)
    scores = load_scores(saved)
    assert (result["pictures"], scores.labels.tolist()) == (2, [0, 217])
    assert (len(scores.classes), scores.classes[217]) == (1000, "n02102040")
    assert (scores.about["weights"], scores.about["sha256"]) == (NAME, digest(cached))
    classifier = classification.load(NAME, device="cpu")
    results = classifier([folders / file for file in ("val/n01440764/1.png", "val/n02102040/0.png")])
    assert torch.equal(torch.stack([one.probabilities for one in results]), scores.log_probabilities.exp())
    assert classifier.classes[217] == "English springer" and results[0].name == results[0].top(1)[0][0]
    assert publisher.asked == []
