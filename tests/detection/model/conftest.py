"""A detector small enough to run hundreds of times, and batches for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones import create_backbone
from backbones.spec import IMAGENET_INPUT, FeatureSpec
from detection.config import DetectionConfig, DetectorConfig
from detection.heads.roi_options import RoiConfig
from detection.improve.inference_options import InferenceConfig
from detection.model.detector import DetectorOptions, FasterRCNN
from detection.model.detector_kinds import build_c4, build_fpn
from detection.model.rpn import RpnConfig
from detection.types import Batch


class TinyTrunk(nn.Module):
    """Two convolutions to stride 16, with the contract of FeatureNetwork."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 4, stride=4), nn.Conv2d(8, 12, 4, stride=4)
        self.feature_specs, self.input_spec = {"res4": FeatureSpec(12, 16)}, IMAGENET_INPUT

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"res4": self.conv2(self.conv1(images).relu()).relu()}


class TinyHead(nn.Module):
    """One convolution of stride 2, with the contract of StageHead."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels = 12
        self.conv = nn.Conv2d(12, 16, 3, stride=2, padding=1)
        self.feature_specs = {"res5": FeatureSpec(16, 2)}

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


def make_detector(num_classes: int = 4, *, seed: int = 0, **keywords: dict) -> FasterRCNN:
    torch.manual_seed(seed)
    options: dict = {"channels": 16, "anchor_sizes": (32.0, 64.0), "anchors_per_image": 32}
    options |= {"pre_nms_train": 400, "post_nms_train": 60, "pre_nms_test": 300, "post_nms_test": 40}
    roi = {"size": 6, "regions_per_image": 16, "detections_per_image": 30} | keywords.get("roi", {})
    rpn = options | keywords.get("rpn", {})
    config = DetectionConfig(
        detector=DetectorConfig(**keywords.get("detector", {})),
        rpn=RpnConfig(**rpn),
        roi=RoiConfig(**roi),
        testing=InferenceConfig(**keywords.get("testing", {})),
    )
    model = build_c4(TinyTrunk(), TinyHead(), num_classes, config.detector_options)
    with torch.no_grad():  # at their usual scale all scores are alike, and all boxes are anchors
        model.rpn.head.objectness.weight.mul_(40)
        model.rpn.head.deltas.weight.mul_(20)
        for reader, _ in model.roi_heads.stages:
            reader.classifier.weight.mul_(300)
            reader.regressor.weight.mul_(1000)
    return model


def make_batch(
    sizes: list[tuple[int, int]], counts: list[int], *, num_classes: int = 4, seed: int = 0
) -> Batch:
    """Noise pictures of `sizes` (height, width) with `counts` random objects each."""
    draw = torch.Generator().manual_seed(seed)
    height, width = (-(-max(side) // 32) * 32 for side in zip(*sizes, strict=True))
    slots = -(-max(8, *counts) // 8) * 8
    images = torch.zeros(len(sizes), 3, height, width, dtype=torch.uint8)
    boxes, labels = torch.zeros(len(sizes), slots, 4), torch.zeros(len(sizes), slots, dtype=torch.int64)
    for i, ((h, w), count) in enumerate(zip(sizes, counts, strict=True)):
        images[i, :, :h, :w] = torch.randint(0, 256, (3, h, w), generator=draw)
        corners = torch.rand(count, 2, generator=draw) * torch.tensor([w, h]) * 0.7
        extent = 8 + torch.rand(count, 2, generator=draw) * torch.tensor([w, h]) * 0.5
        boxes[i, :count] = torch.cat([corners, (corners + extent).minimum(torch.tensor([w, h]))], dim=1)
        labels[i, :count] = torch.randint(1, num_classes + 1, (count,), generator=draw)
    return Batch(
        images=images,
        sizes=torch.tensor(sizes),
        scales=torch.ones(len(sizes), 2),
        boxes=boxes,
        labels=labels,
        valid=torch.arange(slots) < torch.tensor(counts)[:, None],
        seeds=torch.randint(0, 2**62, (len(sizes),), generator=draw),
        ids=[str(i) for i in range(len(sizes))],
    )


def random_boxes(*shape: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    corners = torch.rand(*shape, 2, generator=draw) * 60
    return torch.cat([corners, corners + 1 + torch.rand(*shape, 2, generator=draw) * 50], dim=-1)


def plain(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The boxes (N, M, 4), the best first, all valid and of one group."""
    scores = -torch.arange(boxes.shape[1]).float().expand(boxes.shape[:2])
    return (
        boxes,
        scores,
        torch.ones_like(scores, dtype=torch.bool),
        torch.zeros_like(scores, dtype=torch.int64),
    )


def row(size: int, width: float) -> Tensor:
    """(1, size, 4), a pixel apart: 3 pixels wide, each suppresses the next at 0.4, every other one stays."""
    left = torch.arange(float(size))[:, None]
    return torch.cat([left, left * 0, left + width, left * 0 + 1], dim=1)[None]


@pytest.fixture(scope="session")
def detector() -> Callable[..., FasterRCNN]:
    return make_detector


@pytest.fixture(scope="session")
def batches() -> Callable[..., Batch]:
    return make_batch


@pytest.fixture
def detectors(
    detector: Callable[..., FasterRCNN], detector_options: Callable[..., DetectorOptions]
) -> Callable[..., FasterRCNN]:
    """By kind: c4, fpn, and mask, a pyramid with masks; `options` are of the detector."""

    def make(kind: str, *, stages: int = 1, testing: dict | None = None, **options: Any) -> FasterRCNN:
        options["class_agnostic"] = stages > 1
        if kind == "c4":
            return detector(roi={"stages": stages}, testing=testing or {}, detector=options)
        torch.manual_seed(0)
        network = create_backbone("resnet18", out_features=("res2", "res3", "res4", "res5"))
        rpn = {"anchors_per_image": 32, "pre_nms_train": 100, "post_nms_train": 60, "pre_nms_test": 100}
        roi = {"channels": 16, "regions_per_image": 16, "stages": stages}
        options |= {"mask": {"channels": 8} if kind == "mask" else None, "testing": testing}
        rpn["channels"] = 16
        made = detector_options("fpn", pyramid_channels=16, rpn=rpn, roi=roi, **options)
        model = build_fpn(network, 4, made)
        with torch.no_grad():  # at their usual scale all scores are alike
            model.rpn.head.objectness.weight.mul_(40)
            for reader, _ in model.roi_heads.stages:
                reader.classifier.weight.mul_(100)
        return model

    return make


@pytest.fixture
def with_masks() -> Callable[[Batch], Batch]:
    """The same batch with masks that fill the pictures."""

    def add(batch: Batch) -> Batch:
        shape = (*batch.valid.shape, batch.images.shape[2], batch.images.shape[3] // 8)
        return replace(batch, masks=torch.full(shape, 255, dtype=torch.uint8))

    return add
