import math

import pytest

from classification.config import DataConfig, LossConfig, MixingConfig, PretrainConfig
from foundation.errors import UserError
from training.config import dump_config, load_config

NEEDED = ["model.name=resnet50", "data.kind=folder", "schedule.total_steps=10"]


def test_defaults_are_the_papers():
    config = load_config(PretrainConfig, None, NEEDED)
    data, optim = config.data, config.optim
    assert (data.image_size, data.augment, data.pca_colour) == (224, "paper", 0.1)
    assert (optim.lr, optim.momentum, optim.weight_decay, optim.batch_size) == (0.1, 0.9, 1e-4, 256)
    assert config.model.weights is None


@pytest.mark.parametrize(
    "option",
    [
        *("image_size=32", "resize=300", "augment=inception", "short_side=[64,80]", "pca_colour=0"),
        *("eval_size=32", "policy=trivial", "erase=0.1"),
    ],
)
def test_cifar_refuses_what_does_not_apply(option):
    name = option.partition("=")[0]
    with pytest.raises(UserError, match=f"data: {name} does not apply to cifar10; leave it out"):
        load_config(PretrainConfig, None, [*NEEDED, "data.kind=cifar10", f"data.{option}"])


def test_a_dumped_cifar_config_loads_again(tmp_path):
    config = load_config(PretrainConfig, None, [*NEEDED, "data.kind=cifar10", "data.val_split=test"])
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(PretrainConfig, tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 257}, "image_size must be .* at most resize, got image_size 257 and resize 256"),
        ({"image_size": 0}, "got image_size 0 and resize 256"),
        ({"short_side": (200, 300)}, r"got \[200, 300\] and image_size 224"),
        ({"short_side": (300, 250)}, r"short_side must be a range .* got \[300, 250\]"),
        ({"pca_colour": -0.1}, "pca_colour is a deviation and must be from 0 to 10, got -0.1"),
        ({"pca_colour": math.nan}, "must be from 0 to 10, got nan"),
        ({"pca_colour": math.inf}, "must be from 0 to 10, got inf"),
        ({"augment": "inception", "short_side": (256, 480)}, r"short_side .* inception; .* \[256, 480\]"),
        ({"eval_size": 257}, "eval_size must be .* at most resize, got eval_size 257 and resize 256"),
        ({"eval_size": 0}, "got eval_size 0 and resize 256"),
        ({"image_size": 0, "eval_size": 224}, "image_size must be positive, got 0"),
        ({"policy": "rand-m7-foo3"}, 'policy must be "trivial", .* got \'rand-m7-foo3\''),
        ({"policy": "trivia"}, "got 'trivia'"),
        ({"erase": 1.5}, "erase is a probability and must be from 0 to 1, got 1.5"),
    ],
)  # fmt: skip
def test_impossible_pictures_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        DataConfig(kind="folder", **options)


@pytest.mark.parametrize(
    "option",
    ["m7.5", "m11", "n0", "n1.5", "p1.5", "p2", "p.5", "mmax3.5", "mstd", "inc0", "inc2", "foo3", ""],
)
def test_options_that_mean_nothing_to_timm_are_refused(option):
    with pytest.raises(UserError, match=f"as \"rand-m7-mstd0.5-inc1\" .* got 'rand-m9-{option}'"):
        DataConfig(kind="folder", policy=f"rand-m9-{option}")


def test_the_whole_picture_may_be_the_crop():
    assert DataConfig(kind="shapes", image_size=64, resize=64).resize == 64


def test_evaluation_may_have_a_size_of_its_own():
    assert DataConfig(kind="folder").centre_size() == 224
    assert DataConfig(kind="folder", image_size=160, eval_size=224).centre_size() == 224
    assert DataConfig(kind="folder", image_size=300, eval_size=224).image_size == 300


def test_nothing_is_mixed_or_smoothed_by_default():
    config = load_config(PretrainConfig, None, NEEDED)
    assert not config.mixing.is_on() and config.loss == LossConfig(kind="softmax", smoothing=0)
    assert MixingConfig(mixup=0.1).is_on() and MixingConfig(cutmix=0.1).is_on()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ((MixingConfig, {"mixup": -0.1}), "mixup must be from 0 to 100, got -0.1"),
        ((MixingConfig, {"cutmix": math.inf}), "cutmix must be from 0 to 100, got inf"),
        ((MixingConfig, {"probability": 1.1}), "probability must be from 0 to 1, got 1.1"),
        ((MixingConfig, {"cutmix_share": -1}), "cutmix_share must be from 0 to 1, got -1"),
        ((LossConfig, {"smoothing": 1}), "smoothing must be from 0 to below 1, got 1"),
        ((LossConfig, {"target_threshold": 0.2}), "target_threshold and sum_classes belong to kind binary"),
        ((LossConfig, {"sum_classes": True}), "target_threshold and sum_classes belong to kind binary"),
        ((LossConfig, {"kind": "binary", "target_threshold": 1}), "target_threshold must be .*, got 1"),
        (
            (LossConfig, {"kind": "binary", "target_threshold": 0.2, "smoothing": 0.1}),
            "target_threshold 0.2 makes targets 0 or 1 and undoes smoothing 0.1; leave one of them out",
        ),
    ],
)  # fmt: skip
def test_impossible_losses_and_mixtures_are_refused(section, message):
    kind, options = section
    with pytest.raises(ValueError, match=message):
        kind(**options)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.agument=paper", "data.agument: unknown key; did you mean 'data.augment'?"),
        (
            "data.kind=imagenet",
            "data.kind: expected 'shapes', 'cifar10', 'folder', 'shards' or 'huggingface', got 'imagenet'",
        ),
        ("model.shortcut=D", "model.shortcut: expected 'A', 'B' or 'C', got 'D'"),
    ],
)
def test_mistakes_are_explained(override, message):
    with pytest.raises(UserError) as caught:
        load_config(PretrainConfig, None, [*NEEDED, override])
    assert message in str(caught.value)
