"""What the trainings still to do will cost, from steps taken on this machine."""

import logging
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from backbones.complexity import count_parameters
from backbones.spec import IMAGENET_INPUT, InputSpec
from classification.config import PretrainConfig
from classification.data.data_sets import DataConfig
from classification.data.labelled_batches import Batch, Pictures
from classification.data.opened_splits import open_split
from classification.pretrain import draw_classifier, pretraining_task
from foundation.errors import UserError
from reproduction.runs import Run
from reproduction.tables import markdown_table
from training.devices import broadcast_object, is_main, process_group, resolve_device
from training.loader import Item
from training.run import Evaluation, train
from training.run_folder import open_run

logger = logging.getLogger(__name__)
STEPS_A_REPORT = {"cpu": 1, "cuda": 50}
REPORTS = 6  # the first warms up, the median of the others counts
# Of a step on a CPU: its time is proportional to the pictures; 256 take minutes and gigabytes.
CPU_PICTURES = {"cifar10": 32, "folder": 4}
TESTED = {"cifar10": 10_000, "folder": 50_000}  # pictures of an evaluation
CLASSES = {"cifar10": 10, "folder": 1000}
# checkpoint.pt holds weights and momentum, best and last.safetensors the weights; 4 bytes each.
BYTES_PER_PARAMETER = 16


@dataclass(frozen=True)
class Cost:
    """What one run still takes."""

    steps: int  # at most; early stopping may end it before
    step_seconds: float  # 0 where no step is to go
    hours: float  # of training and evaluation
    disk: int  # bytes of its folder at the end


class BlackPictures:
    """Stands in for pictures that are not here, so that steps can be timed without the data."""

    input_spec: InputSpec = IMAGENET_INPUT

    def __init__(self, config: PretrainConfig) -> None:
        self.classes = [str(number) for number in range(CLASSES[config.data.kind])]
        self.labels = torch.arange(10_000) % len(self.classes)
        self.size = 32 if config.data.kind == "cifar10" else config.data.image_size

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """Its number."""
        return str(index)

    def read(self, items: Sequence[Item]) -> Batch:
        images = torch.zeros(len(items), 3, self.size, self.size, dtype=torch.uint8)
        labels = self.labels[[item.index for item in items]]
        return Batch(images, labels, labels, [self.name(item.index) for item in items])

    def adopt(self, spec: InputSpec) -> None:
        """Any network will do."""

    def prepare(self, batch: Batch) -> Tensor:
        return batch.images.float() / 255


def costs(runs: Sequence[Run], *, without_data: bool) -> list[Cost]:
    """The cost of each run; a row's steps are timed once, if it has steps to go.

    Args:
        without_data: time on stand-ins where the pictures are missing, instead of refusing.
    """
    opened: dict[DataConfig, Pictures] = {}
    seconds: dict[str, float] = {}
    result = []
    for run in runs:
        steps, data = run.steps_to_go(), run.config.data
        if steps and run.row.key not in seconds:
            if data not in opened:
                try:
                    opened[data] = open_split(data, training=True)
                except UserError as error:
                    if not without_data:
                        raise
                    logger.warning("steps are timed on black pictures, without reading any: %s", error)
                    opened[data] = BlackPictures(run.config)
            seconds[run.row.key] = seconds_per_step(run.config, opened[data])
        result.append(cost_of(run.config, steps, seconds.get(run.row.key, 0.0) if steps else 0.0))
    return result


def cost_of(config: PretrainConfig, steps: int, step_seconds: float) -> Cost:
    """What so many steps of this length cost, with the evaluations between them."""
    # An evaluation has the forward pass alone: a third of a training step's arithmetic a picture.
    evaluation = step_seconds / 3 * TESTED[config.data.kind] / config.optim.batch_size
    evaluations = steps / config.run.eval_every
    with torch.device("meta"):
        model = config.model.create(CLASSES[config.data.kind], weights=None)
    hours = (steps * step_seconds + evaluations * evaluation) / 3600
    return Cost(steps, step_seconds, hours, BYTES_PER_PARAMETER * count_parameters(model))


def seconds_per_step(config: PretrainConfig, pictures: Pictures) -> float:
    """Seconds of a training step on these pictures, reading them included: the median of a few.

    On a CPU at most `CPU_PICTURES` are taken at a time, and the time is scaled to the batch.
    """
    device = resolve_device(config.run.device)
    steps, optim, batch = STEPS_A_REPORT[device.type], config.optim, config.optim.batch_size
    if device.type == "cpu" and batch > CPU_PICTURES[config.data.kind]:
        optim = replace(optim, batch_size=CPU_PICTURES[config.data.kind], accumulate=1)
    total = REPORTS * steps
    run = replace(config.run, log_every=steps, eval_every=total, checkpoint_every=total, early_stop=None)
    if isinstance(pictures, BlackPictures):
        # Nothing is read; and a plan is made without a GPU too.
        run = replace(run, cuda_graph=False, workers=0)
    schedule = replace(config.schedule, total_steps=total)
    short = replace(config, optim=optim, schedule=schedule, run=run)
    logger.info("timing %d steps of %s on %s", total, config.model.name, device)
    with process_group(device), TemporaryDirectory() as name, _quiet():
        folder = Path(name, "run")
        _train_without_scores(short, pictures, device, folder)
        return batch / broadcast_object(pictures_per_second(folder) if is_main() else 0.0)


def _train_without_scores(
    config: PretrainConfig, pictures: Pictures, device: torch.device, out: Path
) -> None:
    task = pretraining_task(config, draw_classifier(config, pictures, device), pictures, pictures)
    nothing = Evaluation(0.0, {"scores": {}})
    task = replace(
        task, evaluate=lambda: nothing, save_weights=lambda path, scores: None, guess_seconds=lambda: 0.0
    )
    with open_run(out, config) as folder:
        train(task, config, folder)


def pictures_per_second(folder: Path) -> float:
    """The median speed of a run's reports, without the first, as TensorBoard has them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import

    events = EventAccumulator(str(folder / "events")).Reload()
    return statistics.median(entry.value for entry in events.Scalars("pictures_per_second")[1:])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the reports of timed steps out of the log."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def plan_table(runs: Sequence[Run], expected: Sequence[Cost], out: Path) -> str:
    """What will be done and what it will cost, in Markdown."""
    heading = ["run", "state", "steps to go", "s a step", "hours", "disk, MB"]
    rows = [
        [run.folder.name, run.state, f"{cost.steps:,}", f"{cost.step_seconds:.3g}", _hours(cost.hours)]
        + [f"{cost.disk / 1e6:.1f}"]
        for run, cost in zip(runs, expected, strict=True)
    ]
    states = [run.state for run in runs]
    hours = sum(cost.hours for cost in expected)
    disk = sum(cost.disk for run, cost in zip(runs, expected, strict=True) if run.state == "missing")
    place = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    return (
        f"{markdown_table(heading, rows, right=range(2, 6))}\n\n"
        f"{len(runs)} runs: {states.count('complete')} complete, {states.count('begun')} to be resumed, "
        f"{states.count('missing')} missing. One after another about {_hours(hours)} hours on this "
        "machine, as busy as it is now (evaluations are reckoned from the steps); "
        f"{disk / 1e6:.0f} MB more on the disk, {shutil.disk_usage(place).free / 1e9:.0f} GB are free."
    )


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"
