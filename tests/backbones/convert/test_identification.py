"""Networks are recognised by their tensors."""

import torch
import torchvision

from backbones import (
    create_model,
)
from backbones.convert import convert
from backbones.convert.identification import build_for


def test_vgg_is_known_by_its_tensors():
    for name in ("vgg16", "vgg19"):
        with torch.device("meta"):
            state = getattr(torchvision.models, name)(num_classes=7).state_dict()
        network = build_for(state, None, {})
        assert network.name == name and network.options["num_classes"] == 7


def test_plain_or_option_a_is_asked(tmp_path, refusal):
    out = tmp_path / "out.safetensors"
    torch.save(create_model("plain20_cifar").state_dict(), tmp_path / "p20.pth")
    options = {"source_format": "ours", "source_input": "imagenet"}
    message = refusal(tmp_path / "p20.pth", out, **options)
    assert "the tensors are those of plain20_cifar, resnet20_cifar alike; give --model NAME" in message
    convert(tmp_path / "p20.pth", out, **options, model="plain20_cifar")
    create_model("plain20_cifar", weights=out)
