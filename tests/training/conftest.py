"""The smallest training: its configuration, its batches, and how it is run in a folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from training import run as training
from training.config import RunConfig
from training.optim import OptimConfig
from training.run import Task
from training.run_folder import open_run
from training.schedule import ScheduleConfig


@dataclass(frozen=True)
class Config:
    schedule: ScheduleConfig
    run: RunConfig
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(
            lr=0.5, momentum=0, weight_decay=0, batch_size=1, reference_batch=1
        )
    )


class Batch:
    ids = ("picture",)

    def to(self, device: torch.device) -> "Batch":
        return self


def small_config(total_steps: int, *, milestones: tuple[int, ...] = (), **run: Any) -> Config:
    """Reports and evaluations after every second step, unless `run` says otherwise."""
    schedule = ScheduleConfig(total_steps=total_steps, milestones=milestones, gamma=0.5)
    options = {"device": "cpu", "log_every": 2, "checkpoint_every": 100, "eval_every": 2} | run
    return Config(schedule, RunConfig(**options))


def train(task: Task, config: Config, out: Path, **how: bool) -> dict[str, Any]:
    """Opens the folder and trains in it, or gives the result of the run that has ended there."""
    with open_run(out, config, **how) as folder:
        return folder.result or training.train(task, config, folder)
