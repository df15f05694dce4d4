"""What a configuration of localization may say."""

import pytest

from detection.localization.localization_config import LocalizationConfig, LocalizationData
from foundation.errors import UserError
from training.config import load_config


def test_the_papers_values():
    config = load_config(LocalizationConfig, None, [])
    assert (config.step, config.data.image_size, config.optim.batch_size) == ("rpn", 224, 256)
    assert (config.rpn.anchors_per_image, config.rpn.positive_fraction) == (8, 0.5)
    assert (config.testing.protocol, config.testing.best) == ("dense", 200)


def test_scales_of_training_follow_the_size():
    assert LocalizationData().jitter() == (256, 480)
    assert LocalizationData(image_size=448).jitter() == (512, 960)
    assert LocalizationData(image_size=96, short_side=(96.0, 130.0)).jitter() == (96, 130)


def test_splits_are_those_of_the_kind():
    data = LocalizationData(kind="voc")
    assert (data.train, data.val) == (data.source().train, data.source().val) != ("", "")


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("data.kind=imagenet_lok", r"unknown kind 'imagenet_lok'; did you mean 'imagenet_loc'"),
        ("data.image_size=100", "image_size must be a multiple of 32, got 100"),
        (
            "data.short_side=[200,300]",
            r"two ascending numbers from image_size 224 on, got \[200\.0, 300\.0\]",
        ),
        ("data.short_side=[300]", r"two ascending numbers .*, got \[300\.0\]"),
        ("testing.scales=[16]", r"scales must be 32 pixels or more each, got \[16\]"),
        ("testing.best=0", "best must be at least 1, got 0"),
        ("step=rcnn", "give both step=rcnn and regions.proposals=FILE, or neither"),
        ("regions.proposals=a", "give both step=rcnn and regions.proposals=FILE, or neither"),
        ("run.cuda_graph=true", "localization cannot be captured; give run.cuda_graph=false"),
        ("rpn.size=3", "rpn.size: unknown key"),
        ("regions.positive_fraction=2.0", "positive_fraction must be from 0 to 1, got 2.0"),
    ],
)
def test_wrong_values(override: str, text: str):
    with pytest.raises(UserError, match=text):
        load_config(LocalizationConfig, None, [override])


def test_scales_want_dense_testing():
    with pytest.raises(UserError, match="scales has no effect with protocol=one_crop; leave it out"):
        load_config(LocalizationConfig, None, ["testing.scales=[64]", "testing.protocol=one_crop"])
