import pytest

from classification.config import PretrainConfig
from classification.losses import LossConfig
from classification.mixing import MixingConfig
from foundation.errors import UserError
from training.config import load_config

NEEDED = ["model.name=resnet50", "data.kind=folder", "schedule.total_steps=10"]


def test_defaults_are_the_papers():
    config = load_config(PretrainConfig, None, NEEDED)
    data, optim = config.data, config.optim
    assert (data.image_size, data.augment, data.pca_colour) == (224, "paper", 0.1)
    assert (optim.lr, optim.momentum, optim.weight_decay, optim.batch_size) == (0.1, 0.9, 1e-4, 256)
    assert config.model.weights is None


def test_nothing_is_mixed_or_smoothed_by_default():
    config = load_config(PretrainConfig, None, NEEDED)
    assert not config.mixing.is_on() and config.loss == LossConfig(kind="softmax", smoothing=0)
    assert MixingConfig(mixup=0.1).is_on() and MixingConfig(cutmix=0.1).is_on()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.agument=paper", "data.agument: unknown key; did you mean 'data.augment'?"),
        (
            "data.kind=imagenet",
            "data: unknown kind 'imagenet'; choose from shapes, few_shapes, cifar10, folder, shards, "
            "huggingface",
        ),
        ("model.shortcut=D", "model.shortcut: expected 'A', 'B' or 'C', got 'D'"),
    ],
)
def test_mistakes_are_explained(override, message):
    with pytest.raises(UserError) as caught:
        load_config(PretrainConfig, None, [*NEEDED, override])
    assert message in str(caught.value)
