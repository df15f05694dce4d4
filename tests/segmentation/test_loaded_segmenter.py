"""Networks for semantic segmentation called from Python."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import segmentation
from foundation.errors import UserError, WeightsError
from segmentation.loaded_segmenter import PictureSegmenter
from segmentation.model.segmenters_by_name import load_network


@pytest.fixture(scope="module")
def segmenter(segmenter_weights: Path) -> PictureSegmenter:
    # The file says run.device=cuda: where it was trained does not matter here.
    return segmentation.load(segmenter_weights, device="cpu")


def test_labels_are_the_networks_own(
    segmenter: PictureSegmenter, segmenter_weights: Path, picture: np.ndarray
):
    network = load_network(segmenter_weights).network
    images = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = network(network.input_spec.normalise(images))["out"][0]
    result = segmenter(picture)
    assert result.labels.dtype == np.uint8 and result.names and result.classes == ["ground", "cat", "dog"]
    assert len(np.unique(result.labels)) == 3  # equal is more than equally empty
    top = logits.topk(2, dim=0)
    sure = (top.values[0] - top.values[1] > 1e-3).numpy()  # folding rounds
    assert sure.mean() > 0.9 and (result.labels == top.indices[0].numpy())[sure].all()


def test_a_list_gives_what_its_pictures_give(
    segmenter: PictureSegmenter, picture: np.ndarray, tmp_path: Path
):
    Image.fromarray(picture).save(tmp_path / "a.png")
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    part = picture[:30]
    given = [tmp_path / "a.png", Image.open(tmp_path / "a.png"), tensor, part]
    whole, *others, smaller = segmenter(given)
    assert segmenter([]) == [] and all(np.array_equal(whole.labels, other.labels) for other in others)
    assert np.array_equal(smaller.labels, segmenter(part).labels) and smaller.labels.shape == (30, 60)


def test_it_evaluates_in_any_mode(segmenter: PictureSegmenter, picture: np.ndarray):
    before = segmenter(picture).labels
    try:
        segmenter.train()
        assert np.array_equal(segmenter(picture).labels, before)  # dropout would change it
    finally:
        segmenter.eval()
    assert segmenter.network.aux_classifier is None


def test_overrides_change_how_it_looks(
    segmenter: PictureSegmenter, segmenter_weights: Path, picture: np.ndarray
):
    mirrored = segmentation.load(segmenter_weights, device="cpu", overrides=["testing.flip=true"])
    assert mirrored.config.testing.flip
    labels = mirrored(picture).labels
    assert np.array_equal(labels, mirrored(picture[:, ::-1]).labels[:, ::-1])
    assert not np.array_equal(labels, segmenter(picture).labels)


def test_what_is_refused(segmenter_weights: Path, picture: np.ndarray, tmp_path: Path):
    with pytest.raises(WeightsError, match="no weights at"):
        segmentation.load(tmp_path / "none.safetensors")
    halved = segmentation.load(segmenter_weights, device="cpu").half()
    with pytest.raises(UserError, match="weights are torch.float16, expected float32; .*run.precision=bf16"):
        halved(picture)
    with pytest.raises(UserError, match="a picture is "):
        halved(picture[..., 0])
