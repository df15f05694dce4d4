"""Heads of fully convolutional networks."""

import torch
from torch import nn

from backbones import create_trunk_and_head
from segmentation.model.fcn import SkipHead, VggSkipHead, conv_norm, fcn_head


def test_the_fcn_head_is_that_of_torchvision():
    head = fcn_head(64, 5)
    assert [type(layer).__name__ for layer in head] == ["Conv2d", "BatchNorm2d", "ReLU", "Dropout", "Conv2d"]
    assert head[0].weight.shape == (16, 64, 3, 3) and head[0].bias is None and head[3].p == 0.1
    assert head(torch.randn(2, 64, 5, 7)).shape == (2, 5, 5, 7)


def test_dilated_convolutions_keep_the_size():
    layers = nn.Sequential(*conv_norm(2, 3, 3, dilation=12))
    assert layers(torch.randn(2, 2, 5, 7)).shape == (2, 3, 5, 7)


def test_scores_are_joined_from_coarse_to_fine():
    head = SkipHead([1, 1], 1)
    for layer, weight in zip(head.scores, (10.0, 2.0), strict=True):
        nn.init.constant_(layer.weight, weight)
    fine, coarse = torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0])
    joined = head(fine.view(1, 1, 1, 4), coarse.view(1, 1, 1, 2))
    # 10 · (0, 1, 0, 0) + 2 · (0, 0.25, 0.75, 1), the coarse map enlarged.
    assert joined.flatten().tolist() == [0, 10.5, 1.5, 2]


def test_a_skip_begins_without_effect_and_learns():
    head = SkipHead([4, 4], 3)
    scores = head(torch.randn(1, 4, 5, 9), torch.randn(1, 4, 3, 5))
    assert scores.shape == (1, 3, 5, 9) and not scores.any()
    scores[:, 0].sum().backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in head.scores)


def test_fc6_and_fc7_of_vgg_are_convolutions_of_the_same_weights():
    _, fully_connected = create_trunk_and_head("vgg16")
    head, fully_connected = VggSkipHead(fully_connected, [512], 21).eval(), fully_connected.eval()
    nn.init.normal_(head.skips.scores[0].weight)
    conv5 = torch.rand(1, 512, 14, 14)
    with torch.no_grad():
        pooled = nn.functional.max_pool2d(conv5, 2)
        # The region of 7x7 lies whole under fc6 at the middle of the map, and nowhere else.
        expected = head.skips.scores[0](fully_connected(pooled))
        scores = head(conv5)
    assert scores.shape == (1, 21, 7, 7)
    torch.testing.assert_close(scores[:, :, 3:4, 3:4], expected, rtol=1e-4, atol=1e-4)
    # fc6: 512 · 7 · 7 · 4096 + 4096, fc7: 4096² + 4096, scores: 4096 · 21 + 21.
    assert sum(parameter.numel() for parameter in head.parameters()) == 102_764_544 + 16_781_312 + 86_037
