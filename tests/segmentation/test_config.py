"""What a configuration of semantic segmentation may say."""

import pytest

from foundation.errors import UserError
from segmentation.config import SegmentationConfig
from training.config import load_config


def test_deeplabs_values():
    config = load_config(SegmentationConfig, None, [])
    assert (config.optim.lr, config.optim.batch_size, config.schedule.kind) == (0.007, 16, "poly")
    assert (config.schedule.total_steps, config.schedule.power, config.data.crop) == (30_000, 0.9, 513)


def test_an_override_replaces_the_other_start(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("model: {backbone_weights: a.safetensors}\n")
    config = load_config(SegmentationConfig, file, ["model.weights=b.safetensors"])
    assert (config.model.weights, config.model.backbone_weights) == ("b.safetensors", None)


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("data.kind=vok", "unknown kind 'vok'; did you mean 'voc'"),
        ("loss.auxx=1", "loss.auxx: unknown key; did you mean"),
        ("data.crop=0", "crop must be at least 1, got 0"),
        ("schedule.kind=poli", "schedule.kind: expected"),
    ],
)
def test_wrong_values(override: str, text: str):
    with pytest.raises(UserError, match=text):
        load_config(SegmentationConfig, None, [override])
