"""Faster R-CNN and Mask R-CNN on pyramids, whole, beside torchvision's on the same weights and inputs.

What differs and is made equal here: torchvision pools without the half-pixel shift; it averages losses over
all samples of a batch, we over those of each picture (so its losses are taken picture by picture); its mask
targets are averages over each cell, ours are 0 or 1 (tests/detection/heads/test_roi_pooling.py).
"""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN, roi_heads
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

from backbones import IMAGENET_INPUT, create_backbone
from backbones.adapters.torchvision import detector_arguments
from detection.heads.mask_head import of_class
from detection.heads.roi_pooling import mask_targets
from detection.model.detector import DetectorOptions, FasterRCNN
from detection.model.detector_kinds import build_fpn
from detection.types import Batch

ALL = 1_000_000
CLASSES = 5
# The second is padded; anchors are centred on all of both: ours are not trained on beside the picture.
SIZES = [(160, 224), (157, 221)]
LIMITS = {"pre_nms_train": 300, "post_nms_train": 60, "pre_nms_test": 200, "post_nms_test": 40}
RPN = {"anchor_sizes": (16.0, 32.0, 64.0, 128.0, 256.0), "anchors_per_image": ALL, "channels": 32} | LIMITS
ROI = {
    "regions_per_image": ALL, "positive_fraction": 0.5, "box_loss_beta": 1 / 9, "nms_threshold": 0.5,
    "score_threshold": 0.2, "detections_per_image": 30,
}  # fmt: skip


class AlignedPool(nn.Module):
    """torchvision's pooling of a pyramid, level by level, with the half-pixel shift it has no switch for."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.map_levels = size, LevelMapper(2, 5)

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], shapes: list) -> Tensor:
        levels = self.map_levels(boxes)
        pictures = torch.cat([torch.full((len(b), 1), float(i)) for i, b in enumerate(boxes)])
        regions = torch.cat([pictures, torch.cat(boxes)], dim=1)
        pooled = torch.zeros(len(regions), features["0"].shape[1], self.size, self.size)
        for level in range(4):
            here = levels == level
            maps, scale = features[str(level)], 1 / 4 / 2**level
            pooled[here] = roi_align(maps, regions[here], self.size, scale, sampling_ratio=2, aligned=True)
        return pooled


class SameSize(GeneralizedRCNNTransform):
    def resize(self, image: Tensor, target: dict | None = None) -> tuple[Tensor, dict | None]:
        return image, target


@pytest.fixture(scope="module")
def pair(detector_options: Callable[..., DetectorOptions]) -> tuple[FasterRCNN, MaskRCNN]:
    """Ours, and torchvision's with the same weights."""
    torch.manual_seed(0)
    network = create_backbone("resnet18", out_features=("res2", "res3", "res4", "res5")).eval()
    roi, mask = ROI | {"channels": 64}, {"channels": 32}
    options = detector_options("fpn", pyramid_channels=32, rpn=RPN, roi=roi, mask=mask)
    model = build_fpn(network, CLASSES, options)
    scale_up(model)
    sizes = tuple((size,) for size in RPN["anchor_sizes"])
    arguments = detector_arguments(model.trunk)
    arguments["rpn_anchor_generator"].sizes = sizes
    arguments["rpn_anchor_generator"].cell_anchors = [
        arguments["rpn_anchor_generator"].generate_anchors(s, r)
        for s, r in zip(sizes, arguments["rpn_anchor_generator"].aspect_ratios, strict=True)
    ]
    twin = MaskRCNN(
        model.trunk, num_classes=None, box_detections_per_img=30,
        box_head=roi_heads_box(model), box_predictor=Predictor(model),
        mask_head=model.roi_heads.mask_head.convolutions,
        mask_predictor=MaskPredictor(model), rpn_head=SharedHead(model), rpn_batch_size_per_image=ALL,
        rpn_pre_nms_top_n_train=300, rpn_post_nms_top_n_train=60, rpn_pre_nms_top_n_test=200,
        rpn_post_nms_top_n_test=40, box_batch_size_per_image=ALL, box_positive_fraction=0.5,
        box_score_thresh=0.2, box_nms_thresh=0.5, **arguments,
    )  # fmt: skip
    twin.roi_heads.box_roi_pool, twin.roi_heads.mask_roi_pool = AlignedPool(7), AlignedPool(14)
    twin.transform = SameSize(1, 1, IMAGENET_INPUT.mean, IMAGENET_INPUT.std)
    return model, twin


@torch.no_grad()
def scale_up(model: FasterRCNN) -> None:
    """At their usual scale all scores are alike and all boxes are anchors."""
    model.rpn.head.objectness.weight.mul_(60)
    model.rpn.head.deltas.weight.mul_(20)
    model.roi_heads.classifier.weight.mul_(200)
    model.roi_heads.regressor.weight.mul_(200)
    model.roi_heads.mask_head.classifier.weight.mul_(2000)


class SharedHead(nn.Module):
    """Our RPN head, with torchvision's order of axes."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.head = model.rpn.head

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        hidden = [self.head.conv(level).relu() for level in features]
        return [self.head.objectness(h) for h in hidden], [self.head.deltas(h) for h in hidden]


def roi_heads_box(model: FasterRCNN) -> nn.Module:
    regions = model.roi_heads.region_features
    return nn.Sequential(nn.Flatten(), regions.fc6, nn.ReLU(), regions.fc7, nn.ReLU())


class Predictor(nn.Module):
    """Ours has no box for the background class, torchvision's has one that it never uses."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.classifier, self.regressor = model.roi_heads.classifier, model.roi_heads.regressor

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        deltas = self.regressor(vectors)
        return self.classifier(vectors), torch.cat([torch.zeros_like(deltas[:, :4]), deltas], dim=1)


class MaskPredictor(nn.Module):
    """Likewise with a mask for the background class."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.upsample, self.classifier = (
            model.roi_heads.mask_head.upsample,
            model.roi_heads.mask_head.classifier,
        )

    def forward(self, maps: Tensor) -> Tensor:
        masks = self.classifier(self.upsample(maps).relu())
        return torch.cat([torch.zeros_like(masks[:, :1]), masks], dim=1)


def pictures(batch: Batch) -> list[Tensor]:
    return [image[:, :h, :w] / 255 for image, (h, w) in zip(batch.images, batch.sizes.tolist(), strict=True)]


def unpack(masks: Tensor, size: Tensor) -> Tensor:
    """(G, H, W / 8) packed → (G, h, w) of the picture inside."""
    bits = (masks[..., None] >> torch.arange(7, -1, -1)) & 1
    return bits.flatten(-2)[:, : size[0], : size[1]].to(torch.uint8)


def targets(batch: Batch) -> list[dict[str, Tensor]]:
    return [
        {"boxes": batch.boxes[i][valid], "labels": batch.labels[i][valid],
         "masks": unpack(batch.masks[i], batch.sizes[i])[valid]}
        for i, valid in enumerate(batch.valid)
    ]  # fmt: skip


def torchvision_losses(twin: MaskRCNN, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Its losses of each picture in the padding of the batch, averaged; under our names."""
    images, objects = twin.transform(pictures(batch), targets(batch))
    features = twin.backbone(images.tensors)
    totals: dict[str, Tensor] = {}
    for i, size in enumerate(images.image_sizes):
        packed = batch.masks[i : i + 1]

        def project(
            masks: Tensor, boxes: Tensor, matched: Tensor, size: int, packed: Tensor = packed
        ) -> Tensor:
            return mask_targets(packed, matched[None], boxes[None], size)[0]

        monkeypatch.setattr(roi_heads, "project_masks_on_boxes", project)
        alone = ImageList(images.tensors[i : i + 1], [size])
        maps = OrderedDict((name, level[i : i + 1]) for name, level in features.items())
        proposals, losses = twin.rpn(alone, maps, objects[i : i + 1])
        losses |= twin.roi_heads(maps, proposals, [size], objects[i : i + 1])[1]
        totals = {name: totals.get(name, 0) + loss / len(batch.ids) for name, loss in losses.items()}
    names = {"loss_objectness": "loss_rpn_objectness", "loss_rpn_box_reg": "loss_rpn_box"}
    names |= {"loss_classifier": "loss_roi_class", "loss_box_reg": "loss_roi_box", "loss_mask": "loss_mask"}
    return {names[name]: loss for name, loss in totals.items()}


def with_masks(batch: Batch) -> Batch:
    """Ellipses in the boxes."""
    height, width = batch.images.shape[2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    centre, half = (
        (batch.boxes[..., :2] + batch.boxes[..., 2:]) / 2,
        (batch.boxes[..., 2:] - batch.boxes[..., :2]) / 2,
    )
    half = half.clamp(min=0.5)[..., None, None]
    inside = ((x - centre[..., 0, None, None]) / half[:, :, 0]) ** 2 + (
        (y - centre[..., 1, None, None]) / half[:, :, 1]
    ) ** 2 <= 1
    weights = 2 ** torch.arange(7, -1, -1)
    packed = (inside.unflatten(-1, (-1, 8)) * weights).sum(dim=-1).to(torch.uint8)
    return Batch(**{**vars(batch), "masks": packed})


Losses = dict[str, Tensor]


def compare_losses(
    pair: tuple[FasterRCNN, MaskRCNN], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> tuple[Losses, Losses]:
    """Ours and theirs, once they are known to be equal."""
    ours, twin = pair
    for model in pair:
        model.rpn.train(), model.roi_heads.train()
    ours.training = True
    losses, expected = ours(batch), torchvision_losses(twin, batch, monkeypatch)
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(
            loss, expected[name], rtol=2e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )
    return losses, expected


@pytest.mark.parametrize("counts", [[0, 0], [2, 0], [30, 3]], ids=str)
def test_losses_and_gradients(
    pair: tuple[FasterRCNN, MaskRCNN], batches: Callable, monkeypatch: pytest.MonkeyPatch, counts: list[int]
):
    ours, _ = pair
    batch = with_masks(batches(SIZES, counts, num_classes=CLASSES))
    losses, expected = compare_losses(pair, batch, monkeypatch)
    parameters = [parameter for parameter in ours.parameters() if parameter.requires_grad]
    wanted = torch.autograd.grad(sum(expected.values()), parameters, allow_unused=True)
    for name, found, gradient in zip(
        dict(ours.named_parameters()),
        torch.autograd.grad(sum(losses.values()), parameters, allow_unused=True),
        wanted,
        strict=True,
    ):
        if gradient is None:
            assert found is None or found.norm() == 0, name
        else:
            # As a whole, not value by value: rounding turns a ReLU or a maximum over here and there.
            assert (found - gradient).norm() <= 1e-2 * gradient.norm().clamp(min=1e-5), name


OBJECT = st.tuples(
    st.floats(0, 0.99), st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 1), st.integers(1, CLASSES)
)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=st.lists(OBJECT, max_size=12), copies=st.sampled_from([1, 1, 40]))
def test_losses_of_any_targets(
    pair: tuple[FasterRCNN, MaskRCNN],
    batches: Callable,
    monkeypatch: pytest.MonkeyPatch,
    objects: list,
    copies: int,
):
    """One-pixel, equal and hundreds of objects."""
    objects = objects * copies
    height, width = 96, 128
    batch = batches([(height, width)], [len(objects)], num_classes=CLASSES)
    for row, (x, y, w, h, label) in enumerate(objects):
        x1, y1 = int(x * (width - 1)), int(y * (height - 1))
        x2, y2 = min(width, x1 + max(1, int(w * width))), min(height, y1 + max(1, int(h * height)))
        batch.boxes[0, row] = torch.tensor([x1, y1, x2, y2], dtype=torch.float32)
        batch.labels[0, row] = label
    compare_losses(pair, with_masks(batch), monkeypatch)


@torch.no_grad()
def test_detections(pair: tuple[FasterRCNN, MaskRCNN], batches: Callable):
    ours, twin = (model.eval() for model in pair)
    batch = batches(SIZES, [0, 0], num_classes=CLASSES)
    found = ours(batch)
    images, _ = twin.transform(pictures(batch))
    features = twin.backbone(images.tensors)
    proposals, _ = twin.rpn(images, features)
    expected, _ = twin.roi_heads(features, proposals, images.image_sizes)
    assert found.valid.sum() > 20
    for i, wanted in enumerate(expected):
        valid = found.valid[i]
        assert found.labels[i, valid].tolist() == wanted["labels"].tolist()
        torch.testing.assert_close(found.boxes[i, valid], wanted["boxes"], rtol=1e-5, atol=1e-3)
        torch.testing.assert_close(found.scores[i, valid], wanted["scores"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found.masks[i, valid], wanted["masks"][:, 0], rtol=1e-3, atol=1e-4)


def test_the_mask_of_the_class_is_taken():
    masks = torch.arange(2 * 3).view(2, 3, 1, 1).float()
    assert of_class(masks, torch.tensor([3, 0])).flatten().tolist() == [2.0, 3.0]
