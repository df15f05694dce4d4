import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from detection.model.anchors import anchor_steps, make_anchors

CPU = torch.device("cpu")


def test_values_by_hand():
    # Size 32, ratio 1: half side 16. Ratio 4 (height over width): width 32 / √4 = 16, height 32 · √4 = 64.
    # Two cells of stride 8: centres (0, 0) and (8, 0).
    anchors = make_anchors((8, 8), (1, 2), sizes=(32.0,), ratios=(1.0, 4.0), device=CPU)
    assert anchors.tolist() == [[-16, -16, 16, 16], [-8, -32, 8, 32], [-8, -16, 24, 16], [0, -32, 16, 32]]


def test_the_cells_of_a_map_may_be_farther_apart_on_one_axis():
    # One anchor of 2 x 2 in each of 2 x 2 cells, 5 pixels apart down and 7 across.
    anchors = make_anchors((5, 7), (2, 2), sizes=(2.0,), ratios=(1.0,), device=CPU)
    assert anchors.tolist() == [[-1, -1, 1, 1], [6, -1, 8, 1], [-1, 4, 1, 6], [6, 4, 8, 6]]


def test_steps_of_a_padded_picture():
    # 800 x 1088 pixels: a conv5 of 25 x 34 cells, pooled to 13 x 17. 800 / 13 = 61.5, 1088 / 17 = 64.
    shapes = [(200, 272), (25, 34), (13, 17)]
    assert anchor_steps("padded", [4, 32, 64], shapes) == [(4, 4), (32, 32), (61, 64)]
    assert anchor_steps("strides", [4, 32, 64], shapes) == [(4, 4), (32, 32), (64, 64)]


def test_corners_are_whole_pixels():
    # Size 128, ratio ½: width 128 · √2 = 181.02, half 90.51 → 91; height 90.51, half 45.25 → 45.
    anchors = make_anchors((16, 16), (1, 1), sizes=(128.0,), ratios=(0.5,), device=CPU)
    assert anchors.tolist() == [[-91, -45, 91, 45]]


def test_equal_to_torchvision():
    sizes, ratios = (64.0, 128.0, 256.0), (0.5, 1.0, 2.0)
    images = ImageList(torch.zeros(1, 3, 96, 160), [(96, 160)])
    (expected,) = AnchorGenerator((sizes,), (ratios,))(images, [torch.zeros(1, 1, 6, 10)])
    assert torch.equal(make_anchors((16, 16), (6, 10), sizes=sizes, ratios=ratios, device=CPU), expected)


def test_usable_after_inference_mode():
    arguments = {"sizes": (17.0,), "ratios": (1.0,), "device": CPU}
    with torch.inference_mode():
        make_anchors((4, 4), (2, 3), **arguments)
    factor = torch.ones(6, 4, requires_grad=True)
    (factor * make_anchors((4, 4), (2, 3), **arguments)).sum().backward()
    assert factor.grad is not None
