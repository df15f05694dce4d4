"""The parts of alternating training; whole trainings are in tests/pipeline/test_alternating.py."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from detection.alternate import SHARED, UNSHARED, Alternation, ProposalNetwork, _of_regions
from detection.build import build_detector
from detection.config import DetectionConfig
from detection.model.detector import FasterRCNN, TwoTrunkRCNN
from detection.types import Batch
from training.config import load_config
from training.run import Task


@pytest.fixture
def config(tiny_options: list[str]) -> DetectionConfig:
    scratch = ["backbone.norm=batch", "backbone.frozen_stages=0", "training=two_stage"]
    return load_config(DetectionConfig, None, [*tiny_options, *scratch])


def alternation(config: DetectionConfig, out: Path) -> Alternation:
    nothing: Any = None
    return Alternation(config, nothing, nothing, out, torch.device("cpu"), nothing)


def empty_batch() -> Batch:
    """Two pictures without objects."""
    images = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    none = torch.zeros(2, 8, dtype=torch.int64)
    sizes, scales = torch.tensor([[64, 96], [60, 80]]), torch.ones(2, 2)
    boxes = torch.zeros(2, 8, 4)
    return Batch(images.byte(), sizes, scales, boxes, none, none.bool(), torch.arange(2), ["a", "b"])


def test_steps_of_each_training(config: DetectionConfig, tmp_path: Path):
    assert alternation(config, tmp_path).steps == UNSHARED
    assert alternation(replace(config, training="four_step"), tmp_path).steps == UNSHARED + SHARED
    # In every step something else learns, and nothing learns whose features later steps share.
    learning = [set(step.learning) for step in UNSHARED + SHARED]
    assert learning == [{"proposal_trunk", "rpn"}, {"trunk", "roi_heads"}, {"rpn"}, {"roi_heads"}]


def test_proposals_are_detections_of_one_sure_class(config: DetectionConfig):
    torch.manual_seed(0)
    model, batch = build_detector(config, 2), empty_batch()
    network = ProposalNetwork(model).eval()
    with torch.no_grad():
        found, (proposals, _) = network(batch), model.propose(batch)
    assert torch.equal(found.boxes, proposals.boxes) and torch.equal(found.valid, proposals.valid)
    assert found.valid.any() and set(found.labels[found.valid].tolist()) == {1}
    assert torch.equal(found.scores, found.valid.float())
    losses = network.train()(batch)
    assert set(losses) == {"loss_rpn_objectness", "loss_rpn_box"}


def test_a_step_of_regions_has_no_losses_of_proposals():
    terms = {"loss_rpn_box": torch.ones(1), "loss_roi_box": torch.ones(1), "loss_mask": torch.ones(1)}
    nothing: Any = None
    task = Task(nn.Identity(), nothing, lambda network, batch: terms, nothing, nothing, {}, {})
    assert set(_of_regions(task).losses(task.model, None)) == {"loss_roi_box", "loss_mask"}


def test_the_first_step_begins_with_two_trunks_of_equal_shape(config: DetectionConfig, tmp_path: Path):
    data: Any = type("Data", (), {"classes": ["a", "b"]})()
    first = replace(alternation(config, tmp_path), training=data)._detector(UNSHARED[0], config, None, None)
    assert isinstance(first, TwoTrunkRCNN)
    shapes: Callable = lambda trunk: [p.shape for p in trunk.parameters()]  # noqa: E731
    assert shapes(first.proposal_trunk) == shapes(first.trunk)
    joint = build_detector(replace(config, training="joint"), 2)
    assert type(joint) is FasterRCNN
