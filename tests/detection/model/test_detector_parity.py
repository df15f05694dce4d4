"""Equal to torchvision.models.detection put together from the same parts and weights.

Both train on every candidate, which leaves nothing to chance. torchvision averages over all samples of a
batch, we over those of each picture: its losses are taken picture by picture.
"""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import roi_align

from backbones import IMAGENET_INPUT, create_trunk_and_head
from backbones.norm import FrozenBatchNorm2d
from detection.model.detector import DetectorOptions, FasterRCNN
from detection.model.detector_kinds import build_c4
from detection.types import Batch

ALL = 1_000_000
# The second is padded, and not a multiple of the stride; but anchors are centred on all of both, because ours
# are not trained on beside the picture.
SIZES = [(160, 224), (150, 215)]
RPN = {"anchors_per_image": ALL}
ROI = {"regions_per_image": ALL, "box_loss_beta": 1 / 9, "nms_threshold": 0.5, "score_threshold": 0.02}


class Trunk(nn.Module):
    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.trunk, self.out_channels = model.trunk, model.rpn.specs[0].channels

    def forward(self, images: Tensor) -> Tensor:
        return self.trunk(images)["res4"]


class AlignedPool(nn.Module):
    """torchvision's pooler cannot align; the rest of its arguments are ours."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], shapes: list) -> Tensor:
        return roi_align(features["0"], boxes, self.size, 1 / 16, sampling_ratio=2, aligned=True)


class Predictor(nn.Module):
    """Ours has no box for the background class, torchvision's has one that it never uses."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.heads = model.roi_heads

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        deltas = self.heads.regressor(vectors)
        return self.heads.classifier(vectors), torch.cat([torch.zeros_like(deltas[:, :4]), deltas], dim=1)


class Pooled(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, regions: Tensor) -> Tensor:
        return self.head(regions).mean(dim=(2, 3))


class SameSize(GeneralizedRCNNTransform):
    def resize(self, image: Tensor, target: dict | None = None) -> tuple[Tensor, dict | None]:
        return image, target


def torchvision_twin(model: FasterRCNN) -> TorchvisionFasterRCNN:
    """torchvision's detector around the modules of ours."""
    rpn, heads = model.rpn, model.roi_heads
    head = RPNHead(model.rpn.specs[0].channels, rpn.head.objectness.out_channels)
    head.conv, head.cls_logits, head.bbox_pred = (
        nn.Sequential(rpn.head.conv, nn.ReLU()),
        rpn.head.objectness,
        rpn.head.deltas,
    )
    twin = TorchvisionFasterRCNN(
        Trunk(model),
        rpn_anchor_generator=AnchorGenerator((rpn.anchor_sizes,), (rpn.options.anchor_ratios,)),
        rpn_head=head,
        rpn_pre_nms_top_n_train=rpn.train_limits[0], rpn_post_nms_top_n_train=rpn.train_limits[1],
        rpn_pre_nms_top_n_test=rpn.test_limits[0], rpn_post_nms_top_n_test=rpn.test_limits[1],
        rpn_batch_size_per_image=ALL, box_batch_size_per_image=ALL,
        box_head=Pooled(heads.region_features.head), box_predictor=Predictor(model),
        box_score_thresh=heads.options.score_threshold, box_nms_thresh=heads.options.nms_threshold,
        box_detections_per_img=heads.options.detections_per_image,
    )  # fmt: skip
    twin.roi_heads.box_roi_pool = AlignedPool(heads.region_features.size)
    twin.transform = SameSize(1, 1, IMAGENET_INPUT.mean, IMAGENET_INPUT.std)
    return twin.train(model.training)


def pictures(batch: Batch) -> list[Tensor]:
    return [image[:, :h, :w] / 255 for image, (h, w) in zip(batch.images, batch.sizes.tolist(), strict=True)]


def targets(batch: Batch) -> list[dict[str, Tensor]]:
    return [
        {"boxes": boxes[valid], "labels": labels[valid]}
        for boxes, labels, valid in zip(batch.boxes, batch.labels, batch.valid, strict=True)
    ]


def torchvision_losses(twin: TorchvisionFasterRCNN, batch: Batch) -> dict[str, Tensor]:
    """Its losses of each picture in the padding of the batch, averaged; under our names."""
    images, objects = twin.transform(pictures(batch), targets(batch))
    features = twin.backbone(images.tensors)
    totals: dict[str, Tensor] = {}
    for i, size in enumerate(images.image_sizes):
        alone, feature = (
            ImageList(images.tensors[i : i + 1], [size]),
            OrderedDict([("0", features[i : i + 1])]),
        )
        proposals, losses = twin.rpn(alone, feature, objects[i : i + 1])
        losses |= twin.roi_heads(feature, proposals, [size], objects[i : i + 1])[1]
        totals = {name: totals.get(name, 0) + loss / len(batch.ids) for name, loss in losses.items()}
    names = {"loss_objectness": "loss_rpn_objectness", "loss_rpn_box_reg": "loss_rpn_box"}
    names |= {"loss_classifier": "loss_roi_class", "loss_box_reg": "loss_roi_box"}
    return {names[name]: loss for name, loss in totals.items()}


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-4)  # atol is in pixels


@pytest.fixture(params=[[0, 0], [1, 1], [0, 1], [30, 3]], ids=str)
def batch(request: pytest.FixtureRequest, batches: Callable[..., Batch]) -> Batch:
    return batches(SIZES, request.param, num_classes=25)


def compare_training(model: FasterRCNN, batch: Batch) -> None:
    model.train()
    losses, expected = model(batch), torchvision_losses(torchvision_twin(model), batch)
    assert losses.keys() == expected.keys()
    for name in losses:
        torch.testing.assert_close(
            losses[name], expected[name], rtol=1e-5, atol=1e-8, msg=lambda m, name=name: f"{name}: {m}"
        )
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    ours = torch.autograd.grad(sum(losses.values()), parameters)
    theirs = torch.autograd.grad(sum(expected.values()), parameters)
    for gradient, expected_gradient in zip(ours, theirs, strict=True):
        # As a whole, not value by value: rounding turns a ReLU or a maximum over here and there.
        error = (gradient - expected_gradient).norm() / expected_gradient.norm().clamp(min=1e-6)
        assert error < 1e-3


def compare_detections(model: FasterRCNN, batch: Batch) -> int:
    model.eval()
    with torch.no_grad():
        detections, expected = model(batch), torchvision_twin(model)(pictures(batch))
    for i, picture in enumerate(expected):
        valid = detections.valid[i]
        assert_equal(detections.boxes[i, valid], picture["boxes"])
        torch.testing.assert_close(detections.scores[i, valid], picture["scores"], rtol=1e-5, atol=1e-7)
        assert detections.labels[i, valid].tolist() == picture["labels"].tolist()
    return int(detections.valid.sum())


@pytest.mark.parametrize("training", [True, False])
def test_proposals(detector: Callable[..., FasterRCNN], batch: Batch, training: bool):
    model = detector(25, rpn=RPN, roi=ROI).train(training)
    twin = torchvision_twin(model)
    images, objects = twin.transform(pictures(batch), targets(batch))
    features = model.extract(batch)
    torch.testing.assert_close(features[0], twin.backbone(images.tensors), rtol=1e-5, atol=1e-6)
    proposals, _ = model.rpn(features, batch)
    expected, _ = twin.rpn(images, OrderedDict([("0", features[0])]), objects)
    for boxes, valid, expected_boxes in zip(*proposals, expected, strict=True):
        assert_equal(boxes[valid], expected_boxes)
    assert proposals.valid.sum(dim=1).min() > 10


def test_losses_and_gradients(detector: Callable[..., FasterRCNN], batch: Batch):
    compare_training(detector(25, rpn=RPN, roi=ROI), batch)


def test_detections(detector: Callable[..., FasterRCNN], batch: Batch):
    assert compare_detections(detector(25, rpn=RPN, roi=ROI), batch) > 20


def test_resnet18(batches: Callable[..., Batch], detector_options: Callable[..., DetectorOptions]):
    torch.manual_seed(0)
    trunk, head = create_trunk_and_head("resnet18", norm="frozen")
    for norm in (m for m in [*trunk.modules(), *head.modules()] if isinstance(m, FrozenBatchNorm2d)):
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(1, 3)  # keeps activations of random weights near one
    rpn = {"channels": 32, "anchor_sizes": (32.0, 64.0), "post_nms_train": 20, "post_nms_test": 20} | RPN
    options = detector_options("c4", rpn=rpn, roi=ROI | {"size": 7, "score_threshold": 0.1})
    model = build_c4(trunk, head, 3, options)
    batch = batches(SIZES, [3, 2], num_classes=3)
    compare_training(model, batch)
    assert compare_detections(model, batch) > 5
