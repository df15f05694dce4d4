"""What another project's networks would compute otherwise is not written for them."""

import pytest

from backbones import IMAGENET_INPUT, WeightsError
from backbones.convert import FORMATS, convert
from backbones.convert.foreign_weights import MSRA_INPUT

CAFFE = {"stride_on": "1x1", "stem_pool": "ceil", "spec": MSRA_INPUT, "num_classes": 2}


@pytest.mark.parametrize(
    ("name", "made", "form", "message"),
    [
        ("resnet50", {"stride_on": "1x1"}, "torchvision", "torchvision's networks stride on the 3x3"),
        ("resnet50", CAFFE, "detectron2", "with --stem-pool padded"),
        ("resnet50", CAFFE | {"stem_pool": "padded"}, "caffe", "with --stem-pool ceil"),
        ("resnet50", CAFFE | {"spec": IMAGENET_INPUT}, "caffe", "Caffe's networks take BGR .* --input msra"),
        ("resnet18", {"shortcut": "C"}, "timm", "are for shortcut=C, timm's networks have B"),
        ("resnet20_cifar", {"shortcut": "C"}, "cifar", "shortcut=C, cifar's networks have A or B"),
        (
            "resnet20_cifar",
            {"unit": "scaled"},
            "cifar",
            "for unit=scaled, cifar's networks have unit=original; w",
        ),
        (
            "resnet29_cifar",
            {"bottlenecks": True},
            "cifar",
            "for bottlenecks=True, cifar's networks have bottlene",
        ),
        ("resnet18", {"eps": 1e-3}, "detectron2", "norm epsilon of 0.001, detectron2's networks add 1e-05"),
        ("plain18", {}, "torchvision", "torchvision has no network like plain18"),
        ("preact_resnet18", {}, "timm", "timm has no network like preact_resnet18"),
        ("highway19_cifar", {}, "cifar", "cifar has no network like highway19_cifar"),
    ],
)
def test_networks_that_a_format_does_not_have(tmp_path, name, made, form, message, write):
    path = write(tmp_path / "x.safetensors", name, **made)
    out = tmp_path / f"out{FORMATS[form].suffixes[0]}"
    with pytest.raises(WeightsError, match=message):
        convert(path, out, target_format=form)
    assert not out.exists()
