"""How networks for segmentation start, and their figures on resamples, worked by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foundation.errors import UserError
from reproduction.results.paired_groups import difference
from reproduction.transfer.segmenter_starts import SegmenterStarts
from reproduction.transfer.start_comparison import STARTS
from segmentation.config import SegmentationConfig
from segmentation.metrics.confusion_matrix import PictureCounts
from segmentation.results.counted_pictures import CountedPictures
from training.config import load_config

CONFIG = SegmentationConfig()


def test_the_starts_differ_in_the_model_alone():
    config = load_config(SegmentationConfig, None, ["model.norm=frozen", "model.frozen_stages=2"])
    configs = {start: SegmenterStarts().variant(config, start, "w.safetensors") for start in STARTS}
    assert all(replace(each, model=config.model) == config for each in configs.values())
    pretrained, unfrozen, scratch = (configs[start].model for start in STARTS)
    assert pretrained == replace(config.model, backbone_weights="w.safetensors")
    assert unfrozen == replace(pretrained, norm="batch", frozen_stages=0)
    assert scratch == replace(unfrozen, backbone_weights=None)


def test_the_backbone_alone_starts_from_weights():
    """Whatever the configuration starts from itself."""
    config = load_config(SegmentationConfig, None, ["model.weights=whole.safetensors", "model.norm=sync"])
    for start in STARTS:
        model = SegmenterStarts().variant(config, start, "w").model
        assert (model.weights, model.norm) == (None, "sync")


def counted(folder: Path, hits: list[int], fingerprint: str = "0123") -> Path:
    """Two pictures of ten pixels of the only class that counts, of which so many are found."""
    found, truth = (np.array([[n, 0] for n in numbers]) for numbers in (hits, [10, 10]))
    # What is not found is predicted as the other class, of which nothing is true.
    predicted = np.array([[n, 10 - n] for n in hits])
    counts = PictureCounts(found, truth, predicted)
    CountedPictures(["a", "b"], ["thing", "ground"], fingerprint, counts).save(folder / "per_picture.npz")
    return folder


def test_figures_and_their_difference_by_hand(tmp_path: Path):
    """Both pictures have ten pixels of "thing"; "ground" is nowhere, but predicted where "thing" is missed.

    10 and 0 found: IoU 0.5 and 0, mean 25. All found: IoU 1 of "thing" alone, 100. Of resamples with the
    first picture twice, each once and the second twice the mean of the first network is 100, 25 and 0.
    """
    half, whole = counted(tmp_path / "half", [10, 0]), counted(tmp_path / "whole", [10, 10])
    first = SegmenterStarts().read(CONFIG, [half], [{"scores": {"mIoU": 0.25}}])
    second = SegmenterStarts().read(CONFIG, [whole], [{"scores": {"mIoU": 1.0}}])
    assert (first.scores, second.scores) == ({"mIoU": [25.0]}, {"mIoU": [100.0]})
    assert set(first.resamples["mIoU"].round(9)) == {0, 25, 100}
    found = difference(first, second, "mIoU")
    assert (found.value, found.low, found.high) == (75, 0, 100)
    both = SegmenterStarts().read(CONFIG, [half, whole], [{"scores": {"mIoU": s}} for s in (0.25, 1.0)])
    assert both.scores == {"mIoU": [25.0, 100.0]}
    assert set(both.resamples["mIoU"].round(9)) == {50, 62.5, 100}  # means over the seeds


def test_what_does_not_belong_together_is_refused(tmp_path: Path):
    one, other = counted(tmp_path / "one", [10, 0]), counted(tmp_path / "other", [10, 0], "4567")
    results = [{"scores": {"mIoU": 0.25}}] * 2
    with pytest.raises(UserError, match="one and the folders of its other seeds were scored on different"):
        SegmenterStarts().read(CONFIG, [one, other], results)
    with pytest.raises(UserError, match="npz is of another evaluation than result.json beside it; remove"):
        SegmenterStarts().read(CONFIG, [one], [{"scores": {"mIoU": 0.5}}])
    with pytest.raises(UserError, match="different pictures or annotations"):
        groups = [SegmenterStarts().read(CONFIG, [folder], results[:1]) for folder in (one, other)]
        difference(*groups, "mIoU")
