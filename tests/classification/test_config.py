import pytest

from classification.config import DataConfig, PretrainConfig
from engine.config import dump_config, load_config
from engine.errors import UserError

NEEDED = ["model.name=resnet50", "data.kind=folder", "schedule.total_steps=10"]


def test_defaults_are_the_papers():
    config = load_config(PretrainConfig, None, NEEDED)
    data, optim = config.data, config.optim
    assert (data.image_size, data.augment, data.pca_colour) == (224, "paper", 0.1)
    assert (optim.lr, optim.momentum, optim.weight_decay, optim.batch_size) == (0.1, 0.9, 1e-4, 256)
    assert config.model.weights is None


@pytest.mark.parametrize(
    "option", ["image_size=32", "resize=300", "augment=inception", "short_side=[64,80]", "pca_colour=0"]
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
        ({"pca_colour": -0.1}, "pca_colour is a deviation and must be at least 0, got -0.1"),
    ],
)  # fmt: skip
def test_impossible_pictures_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        DataConfig(kind="folder", **options)


def test_the_whole_picture_may_be_the_crop():
    assert DataConfig(kind="shapes", image_size=64, resize=64).resize == 64


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.agument=paper", "data.agument: unknown key; did you mean 'data.augment'?"),
        ("data.kind=imagenet", "data.kind: expected 'shapes', 'cifar10' or 'folder', got 'imagenet'"),
        ("model.shortcut=D", "model.shortcut: expected 'A', 'B' or 'C', got 'D'"),
    ],
)
def test_mistakes_are_explained(override, message):
    with pytest.raises(UserError) as caught:
        load_config(PretrainConfig, None, [*NEEDED, override])
    assert message in str(caught.value)
