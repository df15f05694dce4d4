import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from backbones.spec import FeatureSpec
from detection.model.anchors import make_anchors

CPU = torch.device("cpu")


def test_values_by_hand():
    # Size 32, ratio 1: half side 16. Ratio 4 (height over width): width 32 / √4 = 16, height 32 · √4 = 64.
    # Two cells of stride 8: centres (0, 0) and (8, 0).
    anchors = make_anchors(FeatureSpec(1, 8), (1, 2), sizes=(32.0,), ratios=(1.0, 4.0), device=CPU)
    assert anchors.tolist() == [[-16, -16, 16, 16], [-8, -32, 8, 32], [-8, -16, 24, 16], [0, -32, 16, 32]]


def test_corners_are_whole_pixels():
    # Size 128, ratio ½: width 128 · √2 = 181.02, half 90.51 → 91; height 90.51, half 45.25 → 45.
    anchors = make_anchors(FeatureSpec(1, 16), (1, 1), sizes=(128.0,), ratios=(0.5,), device=CPU)
    assert anchors.tolist() == [[-91, -45, 91, 45]]


def test_equal_to_torchvision():
    sizes, ratios = (64.0, 128.0, 256.0), (0.5, 1.0, 2.0)
    images = ImageList(torch.zeros(1, 3, 96, 160), [(96, 160)])
    (expected,) = AnchorGenerator((sizes,), (ratios,))(images, [torch.zeros(1, 1, 6, 10)])
    assert torch.equal(
        make_anchors(FeatureSpec(1, 16), (6, 10), sizes=sizes, ratios=ratios, device=CPU), expected
    )


def test_usable_after_inference_mode():
    arguments = {"sizes": (17.0,), "ratios": (1.0,), "device": CPU}
    with torch.inference_mode():
        make_anchors(FeatureSpec(1, 4), (2, 3), **arguments)
    factor = torch.ones(6, 4, requires_grad=True)
    (factor * make_anchors(FeatureSpec(1, 4), (2, 3), **arguments)).sum().backward()
    assert factor.grad is not None
