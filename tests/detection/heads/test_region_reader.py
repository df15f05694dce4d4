"""Regions beside the whole picture: what the predictors take, and where their gradient goes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from backbones.spec import FeatureSpec
from detection.heads.region_features import PooledRegions
from detection.heads.region_reader import RegionReader

BOXES = torch.tensor([[[0.0, 0, 16, 16], [8, 8, 40, 30]], [[4.0, 2, 50, 60], [0, 0, 64, 48]]])
SIZES = torch.tensor([[48, 64], [64, 50]])


def reader(*, context: bool) -> RegionReader:
    torch.manual_seed(0)
    regions = PooledRegions([FeatureSpec(6, 8)], size=2, aligned=True, channels=5)
    return RegionReader(regions, 3, class_agnostic=False, context=context)


def test_the_context_is_the_whole_picture_read_as_a_region():
    features = [torch.randn(2, 6, 8, 8)]
    plain, wide = reader(context=False), reader(context=True)
    maps, vectors = wide.read(features, BOXES, SIZES)
    same_maps, own = plain.read(features, BOXES, SIZES)
    whole = torch.tensor([[[0.0, 0, 64, 48]], [[0, 0, 50, 64]]])  # width and height without the padding
    _, context = plain.read(features, whole, SIZES)
    torch.testing.assert_close(maps, same_maps)
    torch.testing.assert_close(vectors, torch.cat([own, context.expand(-1, 2, -1)], dim=2))
    logits, deltas = wide.predict(vectors)
    assert logits.shape == (2, 2, 4) and deltas.shape == (2, 2, 3, 4)


def test_the_context_learns_from_every_region():
    """The gradient of the whole picture's vector is the sum over the regions that it stands beside."""
    features = [torch.randn(2, 6, 8, 8, requires_grad=True)]
    wide = reader(context=True)
    _, vectors = wide.read(features, BOXES, SIZES)
    weights = torch.randn(2, 2, 4)
    (wide.predict(vectors)[0] * weights).sum().backward()
    by_hand = torch.zeros_like(features[0])
    for n in range(2):
        for r in range(2):  # one region after the other, and the whole picture anew for each
            lonely = features[0].detach()[n : n + 1].requires_grad_()
            both = torch.cat([BOXES[n, r], torch.tensor([0.0, 0, SIZES[n, 1], SIZES[n, 0]])]).view(1, 2, 4)
            pair = wide.regions.vectors(wide.regions.maps([lonely], both)).flatten()
            logits = wide.classifier(pair)
            by_hand[n] += torch.autograd.grad((logits * weights[n, r]).sum(), lonely)[0][0]
    torch.testing.assert_close(features[0].grad, by_hand, atol=1e-6, rtol=1e-4)


def test_a_detector_with_context_trains_and_finds(
    detectors: Callable[..., nn.Module], batches: Callable, with_masks: Callable
):
    batch = batches([(64, 96), (96, 64)], [2, 3])
    for kind in ("c4", "fpn", "mask"):
        model = detectors(kind, context=True).train()
        losses = model(with_masks(batch))
        sum(losses.values()).backward()
        half = model.roi_heads.classifier.weight.shape[1] // 2
        gradient: Tensor = model.roi_heads.classifier.weight.grad
        assert gradient[:, half:].abs().sum() > 0
        assert model.eval()(batch).valid.any()
