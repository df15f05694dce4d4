import pytest

from detection.config import DetectionConfig
from detection.recipes.machine_scale import CPU, GPU, Scale
from training.config import parse_config


@pytest.mark.parametrize("scale", [GPU, CPU])
def test_sizes_are_keys_of_the_configuration(scale: Scale):
    heads = [f"{key}={value}" for key, value in scale.heads.items()]
    config = parse_config(DetectionConfig, {}, [f"backbone.name={scale.backbone}", *heads], source="test")
    assert config.rpn.channels == scale.heads["rpn.channels"]


def test_a_cpu_has_less_of_everything():
    for name in ("short_side", "batch", "evaluations"):
        assert getattr(CPU, name) < getattr(GPU, name)
    assert CPU.heads["rpn.channels"] < GPU.heads["rpn.channels"]
