"""What each kind of network reads of a backbone, and what is refused."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

import segmentation
from backbones import FeatureSpec
from foundation.errors import OptionError
from segmentation.model.segmenter_kinds import KINDS, SegmenterKind, choose_maps


@pytest.mark.parametrize(
    ("kind", "backbone", "output_stride", "reads", "aux", "stride", "dilation"),
    [
        ("fcn", "resnet50", None, ("res5",), "res4", 8, ("res4", "res5")),
        ("deeplabv3", "resnet50", 16, ("res5",), "res4", 16, ("res5",)),
        ("deeplabv3", "plain18", 32, ("res5",), "res4", 32, ()),
        ("pspnet", "preact_resnet18", 4, ("res5",), "res4", 4, ("res3", "res4", "res5")),
        ("deeplabv3plus", "resnet18", None, ("res2", "res5"), "res4", 16, ("res5",)),
        ("deeplabv3plus", "vgg16", 16, ("conv3", "conv5"), "conv4", 16, ()),
        ("fcn32s", "resnet18", None, ("res5",), "res4", 32, ()),
        ("fcn8s", "resnet18", None, ("res3", "res4", "res5"), "res4", 32, ()),
        # Pooled by two each: strides 8, 16 and 32 of pool3, pool4 and pool5.
        ("fcn8s", "vgg16", None, ("conv3", "conv4", "conv5"), "conv4", 16, ()),
        ("fcn", "resnet20_cifar", 4, ("res4",), "res3", 4, ()),
        ("fcn", "timm/vit_tiny_patch16_224", 16, ("res4",), None, 16, ()),
        ("fcn8s", "timm/convnext_atto", None, ("res3", "res4", "res5"), "res4", 32, ()),
    ],
)
def test_maps(kind, backbone, output_stride, reads, aux, stride, dilation):
    maps = choose_maps(kind, backbone, output_stride, {})
    assert (maps.reads, maps.aux_reads, maps.output_stride, maps.dilation) == (reads, aux, stride, dilation)
    assert maps.channels == [maps.specs[name].channels for name in reads]


def test_specifications_are_those_of_the_dilated_backbone():
    assert choose_maps("fcn", "resnet18", 8, {}).specs["res5"] == FeatureSpec(512, 8)


@pytest.mark.parametrize(
    ("kind", "backbone", "output_stride", "message"),
    [
        ("fcn", "vgg16", None, "^vgg16 has no stages .* to output_stride=8: its last map, conv5, has "
         "stride 16; give output_stride=16, or another backbone, such as resnet50$"),
        ("fcn", "timm/convnext_atto", 16, "^timm/convnext_atto has no stages .* give output_stride=32, or"),
        ("fcn", "resnet18", 12, "^output_stride must be 4, 8, 16, 32, got 12$"),
        ("fcn", "resnet18", "8", "^output_stride must be 4, 8, 16, 32, got '8'$"),
        ("fcn", "vgg16", 32, "^output_stride=32 is more than the last map of vgg16, conv5, has; give .*=16,"),
        ("fcn8s", "resnet18", 8, "^fcn8s joins maps .* leave out output_stride=8, or take fcn_resnet18$"),
        ("fcn32s", "resnet20_cifar", None, "last of resnet20_cifar, res4, has stride 4; take "
         "fcn_resnet20_cifar with output_stride=4$"),
        ("deeplabv3plus", "timm/vit_tiny_patch16_224", 16, "^deeplabv3plus reads a map of stride 4 before "
         "the last, timm/vit_tiny_patch16_224 has res4 of stride 16; take .* fcn_timm/vit_tiny_patch16_224$"),
    ],
)  # fmt: skip
def test_what_a_backbone_cannot_do_is_said(kind, backbone, output_stride, message):
    with pytest.raises(OptionError, match=message):
        choose_maps(kind, backbone, output_stride, {})


class Scores(nn.Module):
    """A toy head: a score of the fine map alone."""

    def __init__(self, channels: Sequence[int], num_classes: int, output_stride: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels[0], num_classes, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        assert coarse.shape[2:] == (4, 6)
        return self.score(fine)


def test_a_new_kind_is_one_entry_of_the_table(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(OptionError, match="^unknown model 'toy_resnet18'"):
        segmentation.create_model("toy_resnet18")
    monkeypatch.setitem(KINDS, "toy", SegmenterKind(Scores, finer=(8,), output_stride=16))
    network = segmentation.create_model("toy_resnet18", num_classes=3).eval()
    assert network.reads == ("res3", "res5") and "toy_resnet18" in segmentation.list_models("toy*")
    assert network(torch.randn(1, 3, 64, 96))["out"].shape == (1, 3, 64, 96)
