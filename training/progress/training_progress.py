"""What is shown of a training while it runs: the bar, and the figures of a report."""

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import torch

from training.loop import Step, StepReport, TrainState
from training.progress.progress_bar import TrainingBar
from training.progress.remaining_time import RemainingTime
from training.progress.score_table import Scores, score_table
from training.progress.step_figures import StepFigures, describe_memory, describe_seconds
from training.schedule import TrainingConfig


class TrainingProgress:
    """Clock, bar and figures of one training.

    Args:
        step: that the training begins with.
        pictures: of the training set; 0 where it has no size.
        loss_names: the terms that carry gradient, as they become known; see `TrainingStep.loss_names`.
        evaluation_guess: see `RemainingTime`.
    """

    def __init__(
        self,
        config: TrainingConfig,
        step: int,
        pictures: int,
        *,
        loss_names: Set[str],
        device: torch.device,
        evaluation_guess: float,
    ) -> None:
        self.total_steps, self.batch_size = config.schedule.total_steps, config.optim.batch_size
        self.pictures, self.loss_names, self.device = pictures, loss_names, device
        self.clock = RemainingTime(config.run, self.total_steps, step, evaluation_guess=evaluation_guess)
        self._bar: TrainingBar | None = None
        self._beside: Callable[[int], str] = lambda columns: ""  # the bar, after the last step
        self._reported = step, 0.0  # steps, and seconds in them, at the last report

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within the block a bar counts the steps, where bars are shown."""
        self._bar = bar = TrainingBar(self.total_steps, self.clock.step)
        try:
            yield
            bar.draw(self._beside)  # what is left on the screen knows of the last evaluation
        finally:
            self._bar = None
            bar.close()

    def counted(self, take: Step) -> Step:
        """The step, timed and counted by the bar."""

        def step(state: TrainState, batches: Iterator[Any], limit: int) -> StepReport:
            report = take(state, batches, limit)
            self.clock.steps_done(report.steps)
            if self._bar is not None:

                def beside(columns: int) -> str:
                    losses = {name: value.item() / report.steps for name, value in report.losses.items()}
                    return self._figures(losses, _lr(state), self._late_speed()).beside_bar(columns)

                self._beside = beside
                self._bar.advance(report.steps, beside)
            return report

        return step

    def report(self, state: TrainState, losses: Mapping[str, float]) -> tuple[str, float]:
        """The line on the steps since the last report, and their pictures per second."""
        (step, seconds), self._reported = self._reported, (state.step, self.clock.step_seconds)
        speed = (state.step - step) * self.batch_size / max(self.clock.step_seconds - seconds, 1e-9)
        return self._figures(losses, _lr(state), speed).line(), speed

    def describe_scores(
        self, scores: Scores, earlier: Mapping[int, Scores], best_step: int, *, per_cent: bool
    ) -> str:
        """A heading and a table for an evaluation that has just been made.

        Args:
            earlier: scores of the evaluations before, by step.
            best_step: of the best evaluation so far, this one included.
        """
        best = best_step == self.clock.step
        rank = "the best so far" if best else f"the best so far was at step {best_step}"
        table = score_table(
            scores,
            per_cent=per_cent,
            before=earlier[max(earlier)] if earlier else None,
            best=None if best else earlier.get(best_step),
        )
        return f"evaluation at {self._place}: {rank}\n{table}"

    def describe_time(self) -> str:
        """How long the training has taken so far."""
        return f"{self._place}: took {describe_seconds(self.clock.elapsed)}"

    @property
    def _place(self) -> str:
        step, epoch = f"step {self.clock.step}/{self.total_steps}", self._epoch
        return step if epoch is None else f"{step}, epoch {epoch:.2f}"

    @property
    def _epoch(self) -> float | None:
        return self.clock.step * self.batch_size / self.pictures if self.pictures else None

    def _late_speed(self) -> float | None:
        pace = self.clock.seconds_per_step
        return self.batch_size / pace if pace else None

    def _figures(self, losses: Mapping[str, float], lr: float, speed: float | None) -> StepFigures:
        return StepFigures(
            self.clock.step,
            self.total_steps,
            self._epoch,
            dict(losses),
            frozenset(self.loss_names),
            lr,
            speed,
            self.clock.seconds_left(),
            describe_memory(self.device),
        )


def _lr(state: TrainState) -> float:
    return float(state.optimizer.param_groups[0]["lr"])
