"""A small detector on the generated set Shapes, and the processes in which it is measured."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from detection.config import DetectionConfig
from detection.data.annotations import DetectionDataset
from detection.model.detector import FasterRCNN
from detection.own_sets.split_opener import SplitOpener
from detection.starting_weights import starting_detector
from detection.train import detection_task
from detection.types import Batch
from foundation.errors import UserError
from training.config import load_config
from training.devices import world_size, wrap
from training.loop import TrainingStep, TrainState
from training.optim import build_optimizer
from training.seeding import seed_everything

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs/few_shapes_frcnn_r18_fpn.yaml"  # ResNet-18 with a pyramid, pictures of 128 pixels
# What makes a step take milliseconds: a few narrow layers, pictures of 64 pixels.
TINY = (
    *("backbone.name=resnet8_cifar", "detector.kind=c4", "data.short_side=64", "data.max_side=64"),
    *("rpn.channels=16", "rpn.pre_nms_train=50", "rpn.post_nms_train=20", "rpn.anchor_sizes=[16, 32]"),
    *("rpn.pre_nms_test=20", "rpn.post_nms_test=8", "roi.size=2", "roi.regions_per_image=4"),
)


class SmallRun(NamedTuple):
    """A training that can be taken step by step."""

    config: DetectionConfig
    model: FasterRCNN
    training: DetectionDataset
    validation: DetectionDataset
    batches: Iterable[Batch]  # of this process, without end
    state: TrainState
    step: TrainingStep


def small_run(folder: Path, batch_size: int, *options: str) -> SmallRun:
    """Opens the training, on the CPU and from random weights.

    Args:
        folder: holds the pictures, which are written there unless they are.
        batch_size: pictures of a step for each process.
        options: overrides of `CONFIG`, as `TINY`.
    """
    whole = f"{batch_size * world_size()}"
    fixed = ("backbone.weights=null", f"data.root={json.dumps(str(folder))}", f"optim.batch_size={whole}")
    quiet = (f"optim.reference_batch={whole}", "run.workers=0", "run.pictures=false", "run.device=cpu")
    config = load_config(DetectionConfig, CONFIG, [*fixed, *quiet, *options])
    opened = SplitOpener()
    training, validation = (opened(config.data, split) for split in (config.data.train, config.data.val))
    seed_everything(0)
    model = starting_detector(config, training.classes)
    task = detection_task(config, model, training, validation, folder)
    step = TrainingStep(
        wrap(model),
        task.losses,
        optim=config.optim,
        schedule=config.schedule,
        device=torch.device("cpu"),
        precision=config.run.precision,
    )
    state = TrainState(model, build_optimizer(model, config.optim))
    return SmallRun(config, model, training, validation, task.batches(0), state, step)


def start(module: str, *arguments: str, processes: int = 1) -> "subprocess.Popen[str]":
    """Starts a module of the benchmarks in processes of one thread each, several under torchrun."""
    several = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m")
    command = [sys.executable, "-m", *(several if processes > 1 else ()), module, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def answer(process: "subprocess.Popen[str]") -> Any:
    """What a started module says in its last line, read as JSON.

    Raises:
        UserError: it ended with an error, whose last lines are given.
    """
    text, errors = process.communicate()
    if process.returncode:
        raise UserError(f"a measurement ended with {process.returncode}: {errors.strip()[-600:]}")
    return json.loads(text.splitlines()[-1])
