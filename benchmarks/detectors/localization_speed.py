"""A training step of the per-class RPN of a thousand classes, beside one that computes all outputs."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from backbones.spec import FeatureSpec
from benchmarks.backbone_speed import Call, Pair, bytes_table
from benchmarks.detectors.switch_speed import peak
from detection.model.box_targets import box_targets, match, random_keys, sample, sampled_mean
from detection.model.boxes import box_iou
from detection.model.per_class_rpn import PerClassRpn, PerClassRpnConfig, sizes_of_anchors
from detection.types import Batch

CLASSES, SIDE = 1000, 224
FEATURES = FeatureSpec(2048, 32)  # conv5 of ResNet-50 and deeper
PICTURES = {"cpu": 8, "cuda": 32}
SHARE = 32  # of the paper's 256 crops, for each of eight GPUs


def localization_calls(device: str) -> Iterator[Pair]:
    """Forward and backward of the RPN alone; before that, both must give the same losses."""
    ours, naive = _steps(device, PICTURES[device])
    losses = ours(), naive()
    for name, value in losses[0].items():
        torch.testing.assert_close(value, losses[1][name], rtol=1e-3, atol=1e-5)
    yield f"{_name(PICTURES[device])} (peer: all classes computed)", ours, naive


def localization_memory(device: str) -> str:
    """The most bytes of tensors of a step, weights apart but their gradients counted; Markdown."""
    ours, naive = _steps(device, SHARE)
    row = (_name(SHARE), peak(ours), peak(naive))
    return bytes_table("peak of a step, weights not included (peer: all classes)", [row])


def _name(count: int) -> str:
    return f"per-class RPN, {CLASSES:,} classes, {count} crops of {SIDE}, forward and backward"


def _steps(device: str, count: int) -> tuple[Call, Call]:
    torch.manual_seed(0)
    options = PerClassRpnConfig()
    rpn = PerClassRpn(FEATURES, CLASSES, sizes_of_anchors(options, SIDE), options).to(device)
    cells = SIDE // FEATURES.stride
    features = torch.randn(count, FEATURES.channels, cells, cells, device=device)
    corner = torch.rand(count, 1, 2, device=device) * SIDE / 2
    boxes = torch.cat([corner, corner + SIDE / 3], dim=2)
    batch = Batch(
        images=torch.zeros(count, 3, 1, 1, dtype=torch.uint8, device=device),
        sizes=torch.full((count, 2), SIDE, device=device),
        scales=torch.ones(count, 2, device=device),
        boxes=boxes,
        labels=torch.randint(1, CLASSES + 1, (count, 1), device=device),
        valid=torch.ones(count, 1, dtype=torch.bool, device=device),
        seeds=torch.arange(count, device=device),
        ids=[str(number) for number in range(count)],
    )

    def step(losses: Call) -> dict[str, torch.Tensor]:
        rpn.zero_grad()
        found = losses()
        sum(found.values()).backward()
        return {name: value.detach() for name, value in found.items()}

    ours, naive = partial(rpn.losses, features, batch), partial(_naive_losses, rpn, features, batch)
    return partial(step, ours), partial(step, naive)


def _naive_losses(rpn: PerClassRpn, features: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
    """As `PerClassRpn.losses`, from the outputs of every class at every cell."""
    options, anchors, per_cell = rpn.options, rpn.anchors(features), rpn.anchors_per_cell
    hidden = F.relu(rpn.conv(features))
    logits = _rows(rpn.objectness, hidden, per_cell, 1)
    deltas = _rows(rpn.deltas, hidden, per_cell, 4)
    everywhere = torch.ones(len(features), len(anchors), dtype=torch.bool, device=features.device)
    overlap = box_iou(batch.boxes, anchors.expand(len(features), -1, -1))
    matches = match(
        overlap,
        batch.valid,
        everywhere,
        positive_iou=options.positive_iou,
        negative_iou=options.negative_iou,
        low_quality=True,
    )
    keys = random_keys(batch.seeds, torch.arange(len(anchors), device=features.device), stream=0)
    chosen = sample(matches, keys, options.anchors_per_image, options.positive_fraction)
    pictures, own = torch.arange(len(features))[:, None], batch.labels[:, :1] - 1
    said, moved = logits[pictures, own, chosen.rows, 0], deltas[pictures, own, chosen.rows]
    objects = matches.best.gather(1, chosen.rows)
    targets = box_targets(batch.boxes, objects, anchors[chosen.rows], chosen.positive)
    log_loss = F.binary_cross_entropy_with_logits(said, chosen.positive.float(), reduction="none")
    box_loss = F.smooth_l1_loss(moved, targets, beta=options.box_loss_beta, reduction="none").sum(dim=-1)
    return {
        "loss_objectness": sampled_mean(log_loss, chosen.valid, chosen.valid),
        "loss_box": sampled_mean(box_loss, chosen.positive, chosen.valid),
    }


def _rows(layer: nn.Conv2d, hidden: torch.Tensor, per_cell: int, numbers: int) -> torch.Tensor:
    """(N, K, R, numbers) of a convolution over all classes, in the order of the anchors."""
    out = layer(hidden).unflatten(1, (CLASSES, per_cell, numbers))
    return out.permute(0, 1, 4, 5, 2, 3).flatten(2, 4)
