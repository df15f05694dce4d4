"""The config doctor: what a training configuration makes of its data, before the first step."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from backbones.weights.published import published_name, stated_header
from backbones.weights.weight_files import read_header
from backbones.weights.weight_loading import unsaid_option
from detection.build import assemble
from detection.config import DetectionConfig
from detection.data.detection_batches import SIZE_MULTIPLE
from detection.data.transforms import resized_size
from detection.model.anchor_fit import fit_anchors
from detection.model.detector import FasterRCNN
from detection.published_detectors import refuse_detector
from detection.starting_weights import source_detector
from doctor.findings import Finding, find
from doctor.step_memory import estimate
from doctor.survey import Survey, SurveyedObject, clipped
from foundation.errors import UserError, WeightsError, plural
from training.optim import describe_lr
from training.schedule import in_steps, lr_factor

EPOCHS = (1, 300)  # below the first some pictures are never seen; above the second is rarely meant
FEW = 0.1  # of all boxes
ENLARGED = 2.0
Sides = NDArray[np.float64]


@dataclass
class ConfigReport:
    """Lines that say what a configuration does, and what is wrong with it."""

    where: str  # how findings call the configuration
    lines: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def find(self, check: str, detail: str) -> None:
        """Adds a finding."""
        self.findings.append(find(check, self.where, detail))


def check_config(
    config: DetectionConfig, training: Sequence[Survey], where: str, *, memory: bool = True
) -> ConfigReport:
    """What a configuration makes of its data.

    Args:
        training: the surveys that together are data.train.
        where: how findings call the configuration.
        memory: also estimate the memory of a step; seconds to half a minute.
    """
    report = ConfigReport(where)
    if pictures := sum(len(survey.pictures) for survey in training):
        config = in_steps(config, lambda: pictures)
    sizes, boxes = _resized(config, training)
    _check_schedule(report, config, len(sizes))
    _check_weights(report, config, training[0].classes)
    if len(sizes):
        _check_pictures(report, config, training, sizes)
    if len(boxes):
        _check_anchors(report, config, boxes)
    try:
        # Each step of an alternating training has one trunk, as a joint one.
        model = assemble(replace(config, training="joint"), max(len(training[0].classes), 1), None)
    except ValueError as error:  # UserError and OptionError: the parts do not fit together
        report.find("does_not_build", str(error))
        return report
    if len(boxes):
        stride = min(spec.stride for spec in model.feature_specs.values())
        share = float((boxes.min(axis=1) < stride).mean())
        cell = f"{stride} pixels, one cell of the finest feature map"
        report.lines.append(f"{share:.1%} of the boxes have a side below {cell}")
        if share > FEW:
            report.find("below_stride", report.lines[-1])
    if memory and len(sizes):
        report.lines.append(_memory(config, model, sizes))
    return report


def _resized(config: DetectionConfig, surveys: Sequence[Survey]) -> tuple[Sides, Sides]:
    """(N, 2) height and width of the training pictures, (T, 2) width and height of their boxes, resized."""
    sizes, boxes = [np.zeros((0, 2))], [np.zeros((0, 2))]
    for survey in surveys:
        stated = {picture.size for picture in survey.pictures if picture.size is not None}
        known = {size: resized_size(size, config.data.short_side, config.data.max_side) for size in stated}
        rows = [known[p.size] if p.size is not None else (np.nan, np.nan) for p in survey.pictures]
        after = np.array(rows, dtype=np.float64).reshape(-1, 2)
        sizes.append(after[np.isfinite(after).all(axis=1)])
        before = survey.sizes()
        found = clipped(survey.boxes(), before)
        owners = np.array([item.picture for item in survey.objects], dtype=np.int64)
        sides = (found[:, 2:] - found[:, :2]) * (after[owners] / before)[:, ::-1]
        counted = np.array([_is_trained_on(item, config) for item in survey.objects], dtype=bool)
        boxes.append(sides[counted & (sides > 0).all(axis=1)])  # none where no size is stated
    return np.concatenate(sizes), np.concatenate(boxes)


def _is_trained_on(item: SurveyedObject, config: DetectionConfig) -> bool:
    return not item.ignore or config.data.difficult == "train"


def _check_schedule(report: ConfigReport, config: DetectionConfig, pictures: int) -> None:
    optim, schedule = config.optim, config.schedule
    if optim.batch_size % optim.accumulate:
        detail = f"optim.batch_size {optim.batch_size} cannot be shared by {optim.accumulate} micro-batches"
        report.find("wrong_batch", detail)
    report.lines += [
        f"batch: {plural(optim.batch_size, 'picture')} a step over all processes, in "
        f"{plural(optim.accumulate, 'micro-batch', 'micro-batches')}",
        f"{describe_lr(optim)}, from the first step {lr_factor(schedule, 0, []):g} times that",
    ]
    late = [step for step in schedule.milestones if step >= schedule.total_steps]
    if late:
        detail = f"schedule.milestones {late} are not reached in {schedule.total_steps:,} steps"
        report.find("milestone_after_end", detail)
    if not pictures:
        return
    epochs = schedule.total_steps * optim.batch_size / pictures
    text = f"{plural(schedule.total_steps, 'step')} are {epochs:.3g} epochs of {plural(pictures, 'picture')}"
    each = "" if config.training == "joint" else f", of each step of training={config.training}"
    report.lines.append(text + each)
    if epochs < EPOCHS[0]:
        report.find("few_epochs", f"{text}: some are never seen")
    if epochs > EPOCHS[1]:
        report.find("many_epochs", f"{text}; lower schedule.total_steps unless it is meant")


def _check_weights(report: ConfigReport, config: DetectionConfig, classes: Sequence[str]) -> None:
    backbone, detector = config.backbone, config.model.weights
    if detector is not None:
        try:
            if not published_name(detector):  # names are not fetched here
                source_detector(detector, config, classes)
        except UserError as error:
            report.find("wrong_weights", str(error))
        return
    if backbone.weights is None:
        if backbone.norm == "frozen" or backbone.frozen_stages:
            given = f"backbone.norm={backbone.norm} frozen_stages={backbone.frozen_stages} without weights"
            report.find("nothing_to_freeze", f"{given}; use norm=batch frozen_stages=0")
        return
    try:
        refuse_detector(backbone.weights)
        name = published_name(backbone.weights)
        header = stated_header(name) if name else read_header(backbone.weights)
    except (WeightsError, OSError) as error:
        report.find("wrong_weights", str(error))
        return
    if header is None:  # of another program; loading compares names and shapes
        if unsaid := unsaid_option(vars(backbone)):
            report.find("other_stride_on", f"{backbone.weights} {unsaid}")
        return
    if header.model != backbone.name:
        detail = f"{backbone.weights} is of {header.model}, backbone.name is {backbone.name}"
        report.find("wrong_weights", detail)
    stride_on = header.options.get("stride_on", backbone.stride_on)
    if stride_on != backbone.stride_on:
        detail = f"{backbone.weights} has stride_on={stride_on}, the configuration {backbone.stride_on}"
        report.find("other_stride_on", detail)


def _check_pictures(
    report: ConfigReport, config: DetectionConfig, surveys: Sequence[Survey], sizes: Sides
) -> None:
    data = config.data
    short, long = (
        ", ".join(f"{value:.0f}" for value in np.quantile(sides, (0, 0.05, 0.5, 0.95, 1)))
        for sides in (sizes.min(axis=1), sizes.max(axis=1))
    )
    report.lines.append(
        f"after resizing to {data.short_side}, at most {data.max_side}: short side {short}, long side {long} "
        "(least, 5, 50, 95 %, greatest)"
    )
    if data.train_short_sides or data.jitter:
        report.lines.append("in training sizes vary; this is of data.short_side, as in evaluation")
    original = np.array([p.size for s in surveys for p in s.pictures if p.size is not None])
    enlarged = (sizes / original > ENLARGED).all(axis=1)
    if enlarged.any():
        detail = f"{enlarged.mean():.0%} of the pictures are enlarged more than {ENLARGED:g} times"
        report.find("enlarged_pictures", detail)
    owners = Counter((s.name, o.picture) for s in surveys for o in s.objects if _is_trained_on(o, config))
    counts = np.array([owners[s.name, index] for s in surveys for index in range(len(s.pictures))])
    report.lines.append(f"objects a picture: median {np.median(counts):g}, most {counts.max()}")
    if crowded := int((counts > data.max_boxes).sum()):
        detail = (
            f"more than data.max_boxes {data.max_boxes} in {plural(crowded, 'picture')}, up to {counts.max()}"
        )
        report.find("too_many_objects", f"{detail}; a random choice is kept")


def _check_anchors(report: ConfigReport, config: DetectionConfig, boxes: Sides) -> None:
    assert config.rpn.anchor_sizes is not None  # filled in by the kind of detector
    fit = fit_anchors(boxes, config.rpn.anchor_sizes, config.rpn.anchor_ratios)
    lines, below = fit.lines(), fit.share(0, config.rpn.negative_iou)
    report.lines += lines
    if below > FEW:
        limit = f"rpn.negative_iou {config.rpn.negative_iou}"
        detail = f"{below:.0%} of the boxes stay below {limit} with every anchor; {lines[2]}"
        report.find("poor_anchors", detail)


def _memory(config: DetectionConfig, model: FasterRCNN, sizes: Sides) -> str:
    """Of a step of pictures whose sides are the 95 % quantiles, of lying or of upright ones as needs more."""
    pictures = max(config.optim.batch_size // config.optim.accumulate, 1)
    lying = sizes[:, 1] >= sizes[:, 0]
    kinds = [np.quantile(kind, 0.95, axis=0) for kind in (sizes[lying], sizes[~lying]) if len(kind)]
    large = max(kinds, key=lambda size: float(size.prod()))
    height, width = (math.ceil(int(side) / SIZE_MULTIPLE) * SIZE_MULTIPLE for side in large)
    memory = estimate(config, model, (height, width), pictures)
    own, training, activations = (
        f"{part / 2**30:.2f}" for part in (memory.parameters, memory.training, memory.activations)
    )
    recompute = ", which run.recompute lowers" if config.run.recompute else ""
    return (
        f"memory of a step of {plural(pictures, 'picture')} of {width}x{height}, one process: about "
        f"{memory.total / 2**30:.1f} GiB (parameters {own}, gradients and optimiser {training}, kept for the "
        f"backward pass {activations}{recompute}); leave a quarter free, see docs/doctor.md"
    )
