"""What timm says of the weights that it publishes."""

import re
import sys

import pytest
import timm

from backbones import InputSpec
from backbones.weights.published import find_weights, stated_header
from backbones.weights.timm_catalogue import find_timm_weights, list_timm_weights
from foundation.errors import WeightsError


def test_address_and_header_are_timms():
    found = find_timm_weights("timm/convnext_tiny.fb_in22k")
    assert found.url == "https://huggingface.co/timm/convnext_tiny.fb_in22k/resolve/main/model.safetensors"
    header = found.header
    assert header.model == "timm/convnext_tiny" and header.dataset == "fb_in22k"
    assert header.options == {"num_classes": 21841} and header.norm_eps == 1e-5
    assert stated_header("timm/convnext_tiny.fb_in22k") == header


def test_pictures_of_vision_transformers():
    """Google's are of mean 0.5; a network without classifier has no number of classes."""
    header = find_timm_weights("timm/vit_small_patch16_224.augreg_in21k_ft_in1k").header
    assert header.input_spec == InputSpec((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert "num_classes" not in find_timm_weights("timm/convnext_tiny.dinov3_lvd1689m").header.options


def test_weights_in_another_form_are_refused():
    other = next(
        name for name in timm.list_models(pretrained=True) if not timm.get_pretrained_cfg(name).hf_hub_id
    )
    with pytest.raises(WeightsError, match="is not kept as model.safetensors on the Hugging Face hub"):
        find_timm_weights(f"timm/{other}")


def test_names_of_networks_that_stay_timms():
    names = list_timm_weights("timm/convnext_tiny.in12k_ft*")
    assert names == ["timm/convnext_tiny.in12k_ft_in1k", "timm/convnext_tiny.in12k_ft_in1k_384"]
    assert list_timm_weights("timm/resnet50.*") == []  # one of ours: the table has those
    other = next(
        name for name in timm.list_models(pretrained=True) if not timm.get_pretrained_cfg(name).hf_hub_id
    )
    assert list_timm_weights(f"timm/{other}") == []


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert list_timm_weights("timm/convnext_tiny*") == []
    with pytest.raises(WeightsError, match=re.escape("pip install 'residual-backbones[timm]'")):
        find_weights("timm/convnext_tiny.fb_in1k")


def test_misspelt_names_of_timm():
    with pytest.raises(WeightsError, match=re.escape("did you mean 'timm/convnext_tiny.fb_in1k'?")):
        find_weights("timm/convnext_tiny.fb_1k")
    with pytest.raises(WeightsError, match=re.escape("did you mean 'timm/resnet50.a1_in1k'?")):
        find_weights("timm/resnet50.a1_1k")
    with pytest.raises(WeightsError, match="unknown weights 'timm/qqqqqqqq'; timm.list_pretrained"):
        find_weights("timm/qqqqqqqq")
