"""The run folder: what a training writes, and the checkpoint in it from which a killed run goes on."""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from foundation.atomic_files import make_folder, sync, write_bytes, write_text
from foundation.errors import UserError
from foundation.file_reading import read_json
from foundation.torch_archives import TorchFileError, read_torch, torch_bytes
from training.config import differences, dump_config, load_config
from training.devices import broadcast_object, is_main
from training.progress.run_log import RunLog
from training.schedule import may_be_lengthened

logger = logging.getLogger(__name__)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes tensors and plain containers; an earlier checkpoint stays beside it, see `checkpoint_before`."""
    write_bytes(path, torch_bytes(content), keep=checkpoint_before(path))


def checkpoint_before(path: Path) -> Path:
    """Where the checkpoint before the one at `path` is kept: checkpoint.previous.pt beside checkpoint.pt."""
    return path.with_suffix(f".previous{path.suffix}")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote, on the CPU, with nothing in it executed; UserError if it is broken."""
    try:
        content = read_torch(path)
    except TorchFileError as error:
        before = checkpoint_before(path)
        remedy = (
            f"remove it, and --resume goes on from the checkpoint before it, {before.name}"
            if before.is_file()
            else "continue from another copy, or start again with --overwrite"
        )
        raise UserError(f"{path} is broken or no checkpoint ({error}); {remedy}") from error
    if not isinstance(content, dict) or "step" not in content:
        raise UserError(f"{path} is not a checkpoint of this toolkit; start again with --overwrite")
    return content


def last_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The checkpoint that a run in this folder goes on from; None if none has been written."""
    path = folder / "checkpoint.pt"
    if path.is_file():
        return load_checkpoint(path)
    if not checkpoint_before(path).is_file():
        return None
    checkpoint = load_checkpoint(checkpoint_before(path))
    logger.warning("no checkpoint at %s: the one before it is taken, of step %d", path, checkpoint["step"])
    return checkpoint


# What a continued run may do otherwise. Only another device changes figures, by rounding; of data that moved
# and of weights that are in the checkpoint by now, only the place.
FREE_KEYS = (
    *("run.device", "run.workers", "run.checkpoint_every", "run.pictures"),
    *("data.root", "model.weights", "backbone.weights"),
)
# What an evaluation found in each picture, beside its result; of segmentation and localization.
PER_PICTURE = "per_picture.npz"
OURS = (
    *("config.yaml", "log.txt", "metrics.jsonl", "checkpoint.pt", "checkpoint.previous.pt"),
    *("best.safetensors", "last.safetensors", "result.json", "predictions.json", PER_PICTURE),
    *("curves.png", "labels.png", "report.html"),
)
FOLDERS = "events", "batches", "validation"
LOCK = ".lock"


def take_lock(lock: FileLock) -> None:
    """Makes the folder of a lock and takes it; a `UserError` where another process works in the folder."""
    folder = Path(lock.lock_file).parent
    make_folder(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another process works in {folder}; wait for its end, stop it, or choose another --out"
        ) from None


class RunFolder:
    """A run's configuration, metrics, checkpoint, weights, result and TensorBoard events in one folder.

    Attributes:
        checkpoint: what an opened run goes on from; None at the start.
        result: what an opened run ended with; None before.
        resuming: whether it was opened to go on with what is in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint: dict[str, Any] | None = None
        self.result: dict[str, Any] | None = None
        self.resuming = False
        self.log = RunLog(path / "log.txt")
        self._lock = FileLock(path / LOCK)
        self._events: Any = None
        self._metrics_lines = 0

    @property
    def network(self) -> dict[str, Any] | None:
        """What the checkpoint says of its network besides tensors; None at the start, and of 0.1.0."""
        return None if self.checkpoint is None else self.checkpoint.get("network")

    def open(self, config: Any, *, resume: bool, overwrite: bool, may_lengthen: bool = True) -> None:
        """Locks the folder and looks what is in it; a run that is there is left as it is until `begin`.

        Args:
            config: the resolved configuration, a dataclass with a `schedule`.
            overwrite: a run in the folder is to be replaced.
            may_lengthen: whether `schedule.total_steps` may be larger than before.
        Raises:
            UserError: a run is here but neither was asked for, none is here to go on with, it was made with
                another configuration, its checkpoint is broken, or another process works in the folder.
        """
        if resume and not self._holds_run():
            raise UserError(f"no run to continue in {self.path.absolute()}; start one without --resume")
        self._refuse_files_of_others()
        take_lock(self._lock)
        self.resuming = resume
        if resume:
            self._look_back(config, may_lengthen)
        elif self._holds_run() and not overwrite:
            raise UserError(
                f"{self.path} already holds a run; continue it with --resume, replace it with "
                "--overwrite, or choose another --out"
            )

    def _holds_run(self) -> bool:
        return (self.path / "config.yaml").is_file()

    def _leftovers(self) -> list[Path]:
        """Temporary files of saves that were killed."""
        return [path for name in OURS for path in self.path.glob(f".{name}.*")]

    def _refuse_files_of_others(self) -> None:
        if self._holds_run() or not self.path.exists():
            return
        if not self.path.is_dir():
            raise UserError(f"{self.path} is a file, expected a folder for the run; choose another --out")
        if {*self.path.iterdir()} - {*self._leftovers(), self.path / LOCK}:
            raise UserError(
                f"{self.path} holds files but no run of ours; nothing was touched: choose another --out"
            )

    def _look_back(self, config: Any, may_lengthen: bool) -> None:
        """Finds the checkpoint to go on from, or the result, of a run with this configuration."""
        path = self.path / "config.yaml"
        # Options that came since an earlier release have their defaults.
        before = load_config(type(config), path)
        lines = differences(dump_config(before), dump_config(config))
        changed = [line for line in lines if line.partition(":")[0] not in FREE_KEYS]
        longer = config.schedule.total_steps > before.schedule.total_steps
        if longer and may_lengthen and may_be_lengthened(config.schedule):
            changed = [line for line in changed if not line.startswith("schedule.total_steps:")]
            logger.warning(
                "schedule.total_steps %d before, %d now: learning rates are those of a run meant to be "
                "so long; the report and the evaluation at the former end stay",
                *(before.schedule.total_steps, config.schedule.total_steps),
            )
        if changed:
            raise UserError(
                "\n  ".join([f"{self.path} was made with another configuration:", *changed])
                + "\ncontinue with the old values, or start a new run with another --out"
            )
        result = self.path / "result.json"
        if result.is_file() and not longer:
            self.result = read_json(result, "remove it, and --resume makes it anew")
        else:
            self.checkpoint = last_checkpoint(self.path)

    def begin(self, config: Any) -> None:
        """Makes an opened folder what it was at the checkpoint to go on from, or empties it of a run."""
        if self.checkpoint is None:
            if self.resuming:
                logger.warning("no checkpoint in %s yet: the run starts from the beginning", self.path)
            self.clear()
        else:
            (self.path / "result.json").unlink(missing_ok=True)
            self._cut_metrics(self.checkpoint)
        for path in self._leftovers():
            path.unlink()
        write_text(self.path / "config.yaml", dump_config(config))
        self.log.begin()
        if self.checkpoint is not None:
            logger.info("%s: continuing after step %d", self.path, self.checkpoint["step"])

    def _cut_metrics(self, checkpoint: dict[str, Any]) -> None:
        """Drops lines that were written after the checkpoint, and those that a failing disk has damaged."""
        path = self.path / "metrics.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        count = checkpoint.get("metrics_lines")  # checkpoints of 0.1.0 lack it
        lines = [line for line in lines[:count] if line.endswith(b"\n")]
        whole = [line for line in lines if _step_of(line) <= checkpoint["step"]]
        missing = (len(lines) if count is None else count) - len(whole)
        if count is not None and missing:
            logger.warning(
                "%s: %d of %d lines are damaged or gone; going on without them", path, missing, count
            )
        write_bytes(path, b"".join(whole))
        self._metrics_lines = len(whole)

    def clear(self) -> None:
        """Removes the run in the folder, if there is one; other files stay."""
        for name in FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in reversed(OURS):  # config.yaml last: as long as it is there, this is a run's folder
            (self.path / name).unlink(missing_ok=True)

    def record(self, step: int, values: Mapping[str, float | None], **not_reproducible: float) -> None:
        """Appends the values to metrics.jsonl as a line, and writes all to TensorBoard, None left out.

        What differs between repetitions of the run, such as speed, goes to TensorBoard only.
        """
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        self._metrics_lines += 1
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import, not needed for --help

            self._events = SummaryWriter(str(self.path / "events"), purge_step=step)
        for name, value in {**values, **not_reproducible}.items():
            if value is not None:
                self._events.add_scalar(name, value, step)

    def save_checkpoint(self, content: dict[str, Any]) -> None:
        """Writes checkpoint.pt, as the function `save_checkpoint` does, when the metrics so far are safe."""
        if (self.path / "metrics.jsonl").is_file():
            sync(self.path / "metrics.jsonl")
        content = {**content, "metrics_lines": self._metrics_lines}
        save_checkpoint(self.path / "checkpoint.pt", content)
        if self._events is not None:
            self._events.flush()

    def scores_by_step(self) -> dict[int, dict[str, float | None]]:
        """The scores of the evaluations so far, as they were recorded."""
        path, found = self.path / "metrics.jsonl", {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for entry in map(json.loads, lines):
            scores = {key[4:]: value for key, value in entry.items() if key.startswith("val/")}
            if scores:
                found[entry["step"]] = scores
        return found

    def write_result(self, result: Mapping[str, Any]) -> None:
        """result.json: what the run ended with."""
        write_text(self.path / "result.json", json.dumps(result, indent=1) + "\n")

    def close(self) -> None:
        """Flushes what TensorBoard still holds, and lets other processes work in the folder."""
        self.log.detach()
        if self._events is not None:
            self._events.close()
        if self._lock.is_locked and not self._holds_run() and [*self.path.iterdir()] == [self.path / LOCK]:
            shutil.rmtree(self.path)  # the run did not come about
        self._lock.release()


def _step_of(line: bytes) -> float:
    """The step of a line of metrics.jsonl; infinity of a damaged one."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return float("inf")


@contextmanager
def open_run(
    path: Path, config: Any, *, resume: bool = False, overwrite: bool = False, may_lengthen: bool = True
) -> Iterator[RunFolder]:
    """A folder opened as `RunFolder.open` does, by the main process for all; closed after the block."""
    folder = RunFolder(path)
    try:
        if is_main():
            folder.log.attach()
            folder.open(config, resume=resume, overwrite=overwrite, may_lengthen=may_lengthen)
        folder.checkpoint, folder.result = broadcast_object((folder.checkpoint, folder.result))
        yield folder
    except BaseException as error:
        folder.log.note(f"{type(error).__name__}: {error}")
        raise
    finally:
        folder.close()
