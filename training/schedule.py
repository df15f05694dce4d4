"""Learning-rate schedules as pure functions of the step and the errors so far."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from foundation.errors import UserError
from training.config import require_between, require_positive


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Learning rate over the steps; see `lr_factor`. "step" without milestones is constant.

    `warmup` "error" is the paper's for 110 layers (§4.2): `warmup_factor` until the training error, as
    reported every `run.log_every` steps, is below `warmup_error` per cent.
    """

    kind: Literal["step", "cosine", "plateau"] = "step"
    total_steps: int
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_steps: int = 0
    warmup_factor: float = 0.1
    warmup: Literal["linear", "constant", "error"] = "linear"
    warmup_error: float = 80.0
    plateau_patience: int = 5

    def __post_init__(self) -> None:
        require_positive(self, "total_steps")
        require_between(self, 0, 1, "gamma", "warmup_factor")
        require_between(self, 0, 100, "warmup_error")
        if self.warmup == "error" and self.warmup_error == 0:
            raise ValueError("warmup_error 0 would never end the warm-up; the paper's is 80 (per cent)")
        require_between(self, 0, math.inf, "warmup_steps", "plateau_patience")
        if self.milestones and self.kind != "step":
            raise ValueError(f"milestones belong to kind step, got {list(self.milestones)} with {self.kind}")
        if self.warmup == "error" and self.warmup_steps:
            raise ValueError(f"warmup error ends by itself; leave out warmup_steps, got {self.warmup_steps}")


def lr_factor(config: ScheduleConfig, step: int, errors: Sequence[float], *, warm: bool = False) -> float:
    """Factor on the learning rate for optimiser step `step` (0 is the first).

    Args:
        errors: validation errors so far, oldest first; only "plateau" reads them.
        warm: whether a reported training error was below `warmup_error`; only warm-up "error" reads it.
    """
    if config.warmup == "error":
        warmup = 1.0 if warm else config.warmup_factor
    else:
        warmup = warmup_factor(step, config.warmup_steps, config.warmup_factor, config.warmup)
    if config.kind == "cosine":
        return warmup * cosine_factor(step, config.total_steps)
    if config.kind == "plateau":
        return warmup * plateau_factor(errors, config.plateau_patience, config.gamma)
    return warmup * step_factor(step, config.milestones, config.gamma)


def may_be_lengthened(config: ScheduleConfig) -> bool:
    """Whether no learning rate depends on `total_steps`, so that a run can go on beyond them."""
    return config.kind != "cosine"


def warmup_factor(step: int, steps: int, factor: float, kind: Literal["linear", "constant"]) -> float:
    """`factor` for the first `steps` steps, or a line from it up to 1 (Goyal et al. 2017, §2.2)."""
    if step >= steps:
        return 1.0
    return factor if kind == "constant" else factor + (1 - factor) * step / steps


def ends_warmup(config: ScheduleConfig, reported: Mapping[str, float]) -> bool:
    """Whether the training error of a report ends the warm-up "error"; UserError if there is none in it."""
    if "top1_error" not in reported:
        raise UserError(
            "schedule.warmup=error waits for a training error, which this training does not report; use "
            "schedule.warmup=linear or constant with schedule.warmup_steps"
        )
    return reported["top1_error"] < config.warmup_error


def step_factor(step: int, milestones: Sequence[int], gamma: float) -> float:
    """`gamma` to the number of milestones reached."""
    return gamma ** sum(step >= milestone for milestone in milestones)


def cosine_factor(step: int, total: int) -> float:
    """Half a cosine from 1 at step 0 to 0 at step `total` (Loshchilov and Hutter 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * min(step, total) / total))


def plateau_factor(errors: Sequence[float], patience: int, gamma: float) -> float:
    """`gamma` once more whenever more than `patience` evaluations in a row did not improve on the best.

    He et al. 2015, §3.4, divide by 10 "when the error plateaus". The counting is that of torch's
    ReduceLROnPlateau with threshold 0.
    """
    best, waited, factor = math.inf, 0, 1.0
    for error in errors:
        waited = 0 if error < best else waited + 1
        best = min(best, error)
        if waited > patience:
            waited, factor = 0, factor * gamma
    return factor
