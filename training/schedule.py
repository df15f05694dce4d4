"""Learning-rate schedules as pure functions of the step and the errors so far."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from foundation.errors import UserError, plural
from training.config import RunConfig, refuse_both, require_between, require_positive
from training.optim import OptimConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Learning rate over the steps; see `lr_factor`.

    One step is one change of the weights by one batch; one epoch is as many pictures as the training set
    has. What is given in epochs is resolved to steps, rounded up, when the data are opened (`in_steps`).

    Attributes:
        kind: "step" multiplies the learning rate by gamma at each milestone, and is constant without any;
            "cosine" falls to 0 at the end, and so does "poly", as (1 - step / total_steps) ** power;
            "plateau" multiplies by gamma when evaluations get no better.
        total_steps: steps of the whole training; this or epochs must be given.
        epochs: length of the whole training in epochs, instead of total_steps.
        milestones: steps at which kind "step" multiplies the learning rate by gamma.
        milestone_epochs: milestones in epochs, for instance [60, 80], instead of steps.
        gamma: factor on the learning rate at a milestone or plateau.
        power: of kind "poly" (Chen et al. 2018, DeepLab, §4.1).
        warmup_steps: steps at the start with a lower learning rate; 0 means none.
        warmup_epochs: warmup_steps in epochs instead of steps.
        warmup_factor: factor on the learning rate at the first step of the warm-up.
        warmup: "linear" rises from warmup_factor to 1, "constant" stays at it; "error" is the paper's for 110
            layers (§4.2): warmup_factor until the training error, as reported every run.log_every steps, is
            below warmup_error.
        warmup_error: training error in per cent below which warmup "error" ends.
        plateau_patience: evaluations without improvement that kind "plateau" waits for.
    """

    kind: Literal["step", "cosine", "poly", "plateau"] = "step"
    total_steps: int = 0
    epochs: float | None = None
    milestones: tuple[int, ...] = ()
    milestone_epochs: tuple[float, ...] = ()
    gamma: float = 0.1
    power: float = 0.9
    warmup_steps: int = 0
    warmup_epochs: float | None = None
    warmup_factor: float = 0.1
    warmup: Literal["linear", "constant", "error"] = "linear"
    warmup_error: float = 80.0
    plateau_patience: int = 5

    alternatives = (
        ("total_steps", "epochs"),
        ("milestones", "milestone_epochs"),
        ("warmup_steps", "warmup_epochs"),
    )

    def __post_init__(self) -> None:
        refuse_both(self)
        require_positive(self, "epochs", "power")
        if self.epochs is None and self.total_steps < 1:
            raise ValueError(f"total_steps must be positive, got {self.total_steps}; give it, or epochs")
        require_between(self, 0, 1, "gamma", "warmup_factor")
        require_between(self, 0, 100, "warmup_error")
        if self.warmup == "error" and self.warmup_error == 0:
            raise ValueError("warmup_error 0 would never end the warm-up; the paper's is 80 (per cent)")
        require_between(self, 0, math.inf, "warmup_steps", "warmup_epochs", "plateau_patience")
        for name in ("milestones", "milestone_epochs"):
            values = list(getattr(self, name))
            if values and self.kind != "step":
                raise ValueError(f"{name} belong to kind step, got {values} with {self.kind}")
        for name in ("warmup_steps", "warmup_epochs"):
            if self.warmup == "error" and getattr(self, name):
                raise ValueError(f"warmup error ends by itself; leave out {name}, got {getattr(self, name)}")


class TrainingConfig(Protocol):
    """A dataclass with the sections that every training has."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def optim(self) -> OptimConfig: ...
    @property
    def schedule(self) -> ScheduleConfig: ...
    @property
    def run(self) -> RunConfig: ...


Config = TypeVar("Config", bound=TrainingConfig)


def counts_epochs(config: TrainingConfig) -> bool:
    """Whether anything is given in epochs, so that the size of the training set decides the steps."""
    sections = config.schedule, config.run
    return any(getattr(section, epochs) for section in sections for _, epochs in section.alternatives)


def in_steps(config: Config, count: Callable[[], int]) -> Config:
    """The configuration with everything that is given in epochs as steps; the same if nothing is.

    A step takes `optim.batch_size` pictures over all processes and micro-batches, and no picture is dropped
    at the end of an epoch, so that an epoch is pictures / batch_size steps, not always a whole number.

    Args:
        count: gives the number of training pictures; called only if anything is in epochs.
    """
    if not counts_epochs(config):
        return config
    pictures, batch_size = count(), config.optim.batch_size
    if pictures < 1:
        raise UserError("the training set is empty: expected at least one picture")
    sections: dict[str, Any] = {"schedule": config.schedule, "run": config.run}
    for name, section in sections.items():
        for steps, epochs in section.alternatives:
            value = getattr(section, epochs)
            if isinstance(value, tuple) and value:
                known = tuple(_steps(each * pictures / batch_size) for each in value)
                section = replace(section, **{steps: known, epochs: ()})
            elif value:
                section = replace(section, **{steps: _steps(value * pictures / batch_size), epochs: None})
        sections[name] = section
    known_config = replace(config, **sections)
    logger.info("%s", describe_steps(known_config, pictures))
    return known_config


def _steps(number: float) -> int:
    # Rounded first: 0.1 epochs of 30 pictures are 3 of them, not 3.0000000000000004.
    return max(1, math.ceil(round(number, 6)))


def describe_steps(config: TrainingConfig, pictures: int) -> str:
    """One line for the log on how long a training in steps is, of this many training pictures."""
    schedule, batch = config.schedule, config.optim.batch_size
    epochs = schedule.total_steps * batch / pictures
    steps, each = plural(schedule.total_steps, "step"), plural(batch, "picture")
    text = f"{steps} of {each} are {epochs:.4g} epochs of {pictures}"
    if schedule.warmup_steps:
        text += f"; warm-up until step {schedule.warmup_steps}"
    if schedule.milestones:
        text += f"; milestones at {', '.join(map(str, schedule.milestones))}"
    return f"{text}; evaluation every {config.run.eval_every} steps"


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
    if config.kind == "poly":
        return warmup * poly_factor(step, config.total_steps, config.power)
    if config.kind == "plateau":
        return warmup * plateau_factor(errors, config.plateau_patience, config.gamma)
    return warmup * step_factor(step, config.milestones, config.gamma)


def may_be_lengthened(config: ScheduleConfig) -> bool:
    """Whether no learning rate depends on `total_steps`, so that a run can go on beyond them."""
    return config.kind not in ("cosine", "poly")


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


def poly_factor(step: int, total: int, power: float) -> float:
    """From 1 at step 0 to 0 at step `total`."""
    return (1 - min(step, total) / total) ** power


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
