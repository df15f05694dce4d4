"""The two detectors that are timed beside each other compute the same."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN as PeerFasterRCNN
from torchvision.ops import roi_align

from benchmarks.detectors.peers import detectors
from detection.model.detector import FasterRCNN
from detection.types import Batch

SIZE = (96, 128)


class AlignedPool(nn.Module):
    """torchvision's pooler cannot align to half pixels, which costs nothing; here it has to."""

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], shapes: list) -> Tensor:
        return roi_align(features["0"], boxes, 14, 1 / 16, sampling_ratio=2, aligned=True)


@pytest.fixture(scope="module")
def pair() -> tuple[FasterRCNN, PeerFasterRCNN]:
    torch.manual_seed(0)
    ours, peer = detectors(SIZE)
    with torch.no_grad():  # random weights score every class 1/81: below the threshold, nothing is found
        for layer in (ours.roi_heads.classifier, peer.roi_heads.box_predictor.cls_score):
            layer.weight.mul_(60)
    return ours.eval(), peer.eval()


@pytest.fixture(scope="module")
def batch() -> Batch:
    draw = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.randint(256, (2, 3, *SIZE), dtype=torch.uint8, generator=draw),
        sizes=torch.tensor([SIZE, SIZE]),
        scales=torch.ones(2, 2),
        boxes=torch.tensor([[[10.0, 20, 70, 80]], [[40, 5, 120, 90]]]),
        labels=torch.tensor([[3], [80]]),
        valid=torch.ones(2, 1, dtype=torch.bool),
        seeds=torch.arange(2),
        ids=["0", "1"],
    )


def test_as_much_is_trained_and_as_much_fixed(pair: tuple[FasterRCNN, PeerFasterRCNN]):
    ours, peer = (
        {flag: sum(p.numel() for p in net.parameters() if p.requires_grad is flag) for flag in (True, False)}
        for net in pair
    )
    background = 4 * (2048 + 1)  # torchvision's box for the background class
    assert ours[True] == peer[True] - background and ours[False] == peer[False] > 0


@torch.no_grad()
def test_equal_proposals_and_detections(
    pair: tuple[FasterRCNN, PeerFasterRCNN], batch: Batch, monkeypatch: pytest.MonkeyPatch
):
    ours, peer = pair
    images, _ = peer.transform(list(batch.images.float() / 255))
    assert images.tensors.shape == (2, 3, *SIZE)  # the peer does not resize them
    (features,) = maps = ours.extract(batch)
    torch.testing.assert_close(peer.backbone(images.tensors)["0"], features, rtol=1e-3, atol=2e-3)
    proposals, _ = ours.rpn(maps, batch)
    shared = OrderedDict([("0", features)])
    expected, _ = peer.rpn(images, shared)
    for boxes, valid, wanted in zip(*proposals, expected, strict=True):
        torch.testing.assert_close(boxes[valid], wanted, rtol=1e-5, atol=1e-3)
        assert len(wanted) > 5

    monkeypatch.setattr(peer.roi_heads, "box_roi_pool", AlignedPool())
    found = ours(batch)
    assert found.valid.any(dim=1).all()
    for i, wanted in enumerate(peer.roi_heads(shared, expected, images.image_sizes)[0]):
        valid = found.valid[i]
        torch.testing.assert_close(found.boxes[i, valid], wanted["boxes"], rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(found.scores[i, valid], wanted["scores"], rtol=1e-3, atol=1e-5)
        assert found.labels[i, valid].tolist() == wanted["labels"].tolist()


def test_both_train_on_as_many_regions(pair: tuple[FasterRCNN, PeerFasterRCNN]):
    ours, peer = pair
    sampler, heads = peer.roi_heads.fg_bg_sampler, ours.roi_heads.options
    assert (sampler.batch_size_per_image, sampler.positive_fraction) == (
        heads.regions_per_image,
        heads.positive_fraction,
    )
    anchors = peer.rpn.fg_bg_sampler
    assert (anchors.batch_size_per_image, anchors.positive_fraction) == (
        ours.rpn.options.anchors_per_image,
        ours.rpn.options.positive_fraction,
    )
    for mode in (True, False):
        ours.train(mode), peer.rpn.train(mode)
        limits = ours.rpn.train_limits if mode else ours.rpn.test_limits
        assert (peer.rpn.pre_nms_top_n(), peer.rpn.post_nms_top_n()) == limits
