import torch
from torch import nn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from backbones import create_backbone
from backbones.pyramid import Pyramid

LEVELS = ("res2", "res3", "res4", "res5")


def randomise(network: nn.Module) -> None:
    """Statistics and affine parts that no initial value hides, and activations that stay moderate."""
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif "bn" in name or "downsample.1" in name:
            tensor.normal_(0.2, 0.1)


def test_pyramid_equals_torchvisions():
    theirs = resnet_fpn_backbone(backbone_name="resnet50", weights=None).eval()
    randomise(theirs)
    ours = Pyramid(create_backbone("resnet50", out_features=LEVELS, norm="frozen")).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 75, 91)
    with torch.no_grad():
        expected, found = theirs(images), ours(images)
    assert list(found) == list(expected) == ["0", "1", "2", "3", "pool"]
    for level, features in found.items():
        torch.testing.assert_close(features, expected[level], rtol=1e-4, atol=1e-4)
        assert features.shape[1] == ours.feature_specs[level].channels == 256
        stride = ours.feature_specs[level].stride
        assert features.shape[2:] == (-(-75 // stride), -(-91 // stride))


def test_pyramid_on_a_network_that_torchvision_cannot_cut():
    network = create_backbone("preact_resnet18", out_features=("res2", "res5")).eval()
    pyramid, images = Pyramid(network, 8).eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = pyramid.fpn(dict(zip("01", network(images).values(), strict=True)))
        found = pyramid(images)
    assert list(found) == ["0", "1", "pool"]
    for level, features in found.items():
        assert torch.equal(features, expected[level])
        assert features.shape[2] == 64 // pyramid.feature_specs[level].stride
