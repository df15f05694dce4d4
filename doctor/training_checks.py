"""The config doctor: what a training configuration makes of its data, before the first step."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.weights.weight_files import read_header
from detection.build import assemble
from detection.config import DetectionConfig
from detection.data.detection_batches import SIZE_MULTIPLE
from detection.data.transforms import resized_size
from detection.model.detector import FasterRCNN
from doctor.anchor_fit import fit_anchors
from doctor.findings import Finding, find
from doctor.step_memory import estimate, jointly
from doctor.survey import Survey, clipped
from foundation.errors import WeightsError
from training.optim import describe_lr
from training.schedule import lr_factor

EPOCHS = (1, 300)  # below the first some pictures are never seen; above the second is rarely meant
FEW = 0.1  # of all boxes
ENLARGED = 2.0
Sizes = NDArray[np.int64]


def check_config(
    config: DetectionConfig, training: Sequence[Survey], where: str, *, memory: bool = True
) -> tuple[list[str], list[Finding]]:
    """Lines that say what the configuration does, and what is wrong with it.

    Args:
        training: the surveys that together are data.train.
        where: how findings call the configuration.
        memory: also estimate the memory of a step; seconds to half a minute.
    """
    sizes, boxes = _resized(config, training)
    lines, findings = _schedule(config, len(sizes), where)
    findings += _check_weights(config, where)
    if len(sizes):
        found_lines, found = _pictures(config, training, sizes, where)
        lines, findings = lines + found_lines, findings + found
    if len(boxes):
        found_lines, found = _anchors(config, boxes, where)
        lines, findings = lines + found_lines, findings + found
    try:
        model = assemble(jointly(config), max(len(training[0].classes), 1), None)
    except ValueError as error:  # UserError and OptionError: the parts do not fit together
        return lines, [*findings, find("does_not_build", where, str(error))]
    stride = min(spec.stride for spec in model.feature_specs.values())
    if len(boxes):
        found_lines, found = _below_stride(boxes, stride, where)
        lines, findings = lines + found_lines, findings + found
    if memory and len(sizes):
        lines += _memory(config, model, sizes)
    return lines, findings


def _resized(config: DetectionConfig, surveys: Sequence[Survey]) -> tuple[Sizes, NDArray[np.float64]]:
    """(N, 2) height and width of the training pictures, (T, 2) width and height of their boxes, resized."""
    data = config.data
    sizes, boxes = [np.zeros((0, 2), dtype=np.int64)], [np.zeros((0, 2))]
    for survey in surveys:
        stated = [picture.size for picture in survey.pictures if picture.size is not None]
        sizes.append(_resize_all(stated, data.short_side, data.max_side))
        before, ignored = survey.sizes(), np.array([found.ignore for found in survey.objects], dtype=bool)
        kept = np.isfinite(before).all(axis=1) & ~ignored
        found, before = clipped(survey.boxes()[kept], before[kept]), before[kept]
        own = [(int(h), int(w)) for h, w in before]
        scales = _resize_all(own, data.short_side, data.max_side) / np.maximum(before, 1)
        sides = (found[:, 2:] - found[:, :2]) * scales[:, ::-1]
        boxes.append(sides[(sides > 0).all(axis=1)])
    return np.concatenate(sizes), np.concatenate(boxes)


def _resize_all(sizes: Sequence[tuple[int, int]], short_side: int, max_side: int) -> Sizes:
    known = {size: resized_size(size, short_side, max_side) for size in set(sizes)}
    return np.array([known[size] for size in sizes], dtype=np.int64).reshape(-1, 2)


def _schedule(config: DetectionConfig, pictures: int, where: str) -> tuple[list[str], list[Finding]]:
    optim, schedule, findings = config.optim, config.schedule, []
    if optim.batch_size % optim.accumulate:
        detail = f"optim.batch_size {optim.batch_size} cannot be shared by {optim.accumulate} micro-batches"
        findings.append(find("wrong_batch", where, detail))
    lines = [
        f"batch: {optim.batch_size} pictures a step over all processes, in {optim.accumulate} micro-batches",
        f"{describe_lr(optim)}, from the first step {lr_factor(schedule, 0, []):g} times that",
    ]
    late = [step for step in schedule.milestones if step >= schedule.total_steps]
    if late:
        detail = f"schedule.milestones {late} are not reached in {schedule.total_steps:,} steps"
        findings.append(find("milestone_after_end", where, detail))
    if not pictures:
        return lines, findings
    epochs = schedule.total_steps * optim.batch_size / pictures
    text = f"{schedule.total_steps:,} steps are {epochs:.3g} epochs of {pictures:,} pictures"
    lines.append(
        text + (f", of each step of training={config.training}" if config.training != "joint" else "")
    )
    if epochs < EPOCHS[0]:
        findings.append(find("few_epochs", where, f"{text}: some are never seen"))
    if epochs > EPOCHS[1]:
        findings.append(find("many_epochs", where, f"{text}; lower schedule.total_steps unless it is meant"))
    return lines, findings


def _check_weights(config: DetectionConfig, where: str) -> list[Finding]:
    backbone = config.backbone
    if backbone.weights is None:
        if backbone.norm != "frozen" and not backbone.frozen_stages:
            return []
        detail = f"backbone.norm={backbone.norm} frozen_stages={backbone.frozen_stages} without weights"
        return [find("nothing_to_freeze", where, f"{detail}; use norm=batch frozen_stages=0")]
    try:
        header = read_header(Path(backbone.weights))
    except (WeightsError, OSError) as error:
        return [find("wrong_weights", where, str(error))]
    if header is None:
        return []  # of another program; loading compares names and shapes
    findings = []
    if header.model != backbone.name:
        detail = f"{backbone.weights} is of {header.model}, backbone.name is {backbone.name}"
        findings.append(find("wrong_weights", where, detail))
    stride_on = header.options.get("stride_on", backbone.stride_on)
    if stride_on != backbone.stride_on:
        detail = f"{backbone.weights} has stride_on={stride_on}, the configuration {backbone.stride_on}"
        findings.append(find("other_stride_on", where, detail))
    return findings


def _pictures(
    config: DetectionConfig, surveys: Sequence[Survey], sizes: Sizes, where: str
) -> tuple[list[str], list[Finding]]:
    short, long = sizes.min(axis=1), sizes.max(axis=1)
    lines = [
        f"after resizing to {config.data.short_side}, at most {config.data.max_side}: short side "
        f"{_quantiles(short)}, long side {_quantiles(long)} (least, 5, 50, 95 %, greatest)"
    ]
    if config.data.train_short_sides or config.data.jitter:
        lines.append("in training sizes vary; what is said here is of data.short_side, as in evaluation")
    original = np.array([p.size for s in surveys for p in s.pictures if p.size is not None])
    enlarged = (sizes / original > ENLARGED).all(axis=1)
    findings = []
    if enlarged.any():
        detail = f"{enlarged.mean():.0%} of the pictures are enlarged more than {ENLARGED:g} times"
        findings.append(find("enlarged_pictures", where, detail))
    counts = np.concatenate(
        [
            np.bincount([t.picture for t in s.objects if not t.ignore] or [0], minlength=len(s.pictures))
            for s in surveys
        ]
    )
    lines.append(f"objects a picture: median {np.median(counts):g}, most {counts.max()}")
    crowded = int((counts > config.data.max_boxes).sum())
    if crowded:
        detail = f"{crowded} pictures have more than data.max_boxes {config.data.max_boxes}, up to "
        findings.append(find("too_many_objects", where, f"{detail}{counts.max()}; a random choice is kept"))
    return lines, findings


def _quantiles(values: NDArray[np.int64]) -> str:
    return ", ".join(f"{value:.0f}" for value in np.quantile(values, (0, 0.05, 0.5, 0.95, 1)))


def _anchors(
    config: DetectionConfig, boxes: NDArray[np.float64], where: str
) -> tuple[list[str], list[Finding]]:
    assert config.rpn.anchor_sizes is not None  # filled in by the kind of detector
    fit = fit_anchors(boxes, config.rpn.anchor_sizes, config.rpn.anchor_ratios)
    below = fit.share(0, config.rpn.negative_iou)
    if below <= FEW:
        return fit.lines(), []
    detail = (
        f"{below:.0%} of the boxes stay below rpn.negative_iou {config.rpn.negative_iou} with every anchor; "
        f"{fit.lines()[2]}"
    )
    return fit.lines(), [find("poor_anchors", where, detail)]


def _below_stride(boxes: NDArray[np.float64], stride: int, where: str) -> tuple[list[str], list[Finding]]:
    share = float((boxes.min(axis=1) < stride).mean())
    line = f"{share:.1%} of the boxes have a side below {stride} pixels, one cell of the finest feature map"
    return [line], [find("below_stride", where, line)] if share > FEW else []


def _memory(config: DetectionConfig, model: FasterRCNN, sizes: Sizes) -> list[str]:
    pictures = max(config.optim.batch_size // config.optim.accumulate, 1)
    height, width = (math.ceil(side / SIZE_MULTIPLE) * SIZE_MULTIPLE for side in _large(sizes))
    memory = estimate(config, model, (height, width), pictures)
    parts = (memory.parameters, memory.training, memory.activations)
    own, training, activations = (f"{part / 2**30:.2f}" for part in parts)
    recompute = ", which run.recompute lowers" if config.run.recompute else ""
    return [
        f"memory of a step of {pictures} pictures of {width}x{height}, one process: about "
        f"{memory.total / 2**30:.1f} GiB (parameters {own}, gradients and optimiser {training}, kept for the "
        f"backward pass {activations}{recompute}); leave a quarter free, see docs/doctor.md"
    ]


def _large(sizes: Sizes) -> tuple[int, int]:
    """The 95 % quantiles of height and width of lying pictures, or of upright ones, whichever need more."""
    lying = sizes[sizes[:, 1] >= sizes[:, 0]]
    upright = sizes[sizes[:, 1] < sizes[:, 0]]
    kinds = [np.quantile(kind, 0.95, axis=0) for kind in (lying, upright) if len(kind)]
    height, width = max(kinds, key=lambda size: float(size.prod()))
    return int(height), int(width)
