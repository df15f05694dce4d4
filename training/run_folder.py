"""The run folder: what a training writes, and the checkpoint in it from which a killed run goes on."""

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from foundation.atomic_files import write_bytes, write_text
from foundation.errors import UserError
from foundation.torch_archives import TorchFileError, read_torch
from training.config import complete_config, differences, dump_config


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes tensors and plain containers; an earlier checkpoint stays until the new one is complete."""
    buffer = io.BytesIO()  # torch.save's own errors on a full disk do not say what happened
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote, on the CPU, with nothing in it executed; UserError if it is broken."""
    try:
        content = read_torch(path)
    except TorchFileError as error:
        raise UserError(
            f"{path} is broken or no checkpoint ({error}); "
            "continue from another copy, or start again with --overwrite"
        ) from error
    if not isinstance(content, dict) or "step" not in content:
        raise UserError(f"{path} is not a checkpoint of this toolkit; start again with --overwrite")
    return content


# What a continued run may do otherwise. Only another device changes figures, by rounding.
FREE_KEYS = ("run.device", "run.workers", "run.checkpoint_every")
OURS = (
    *("config.yaml", "metrics.jsonl", "checkpoint.pt", "best.safetensors", "last.safetensors", "result.json"),
    "predictions.json",
)


class RunFolder:
    """A run's configuration, metrics, checkpoint, weights, result and TensorBoard events in one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._events: Any = None

    def open(self, config: Any, *, resume: bool, overwrite: bool) -> dict[str, Any] | None:
        """Starts a run here or goes on with the one that is here.

        Args:
            config: the resolved configuration, a dataclass; config.yaml keeps it.
            overwrite: remove the run in the folder first; files that are not a run's stay.
        Returns:
            The checkpoint to go on from, None at the start.
        Raises:
            UserError: a run is here but neither was asked for, none is here to go on with, or it was made
                with another configuration.
        """
        holds_run = (self.path / "config.yaml").is_file()
        # Temporary files of saves that were killed.
        leftovers = [path for name in OURS for path in self.path.glob(f".{name}.*")]
        checkpoint = None
        if resume:
            if not holds_run:
                raise UserError(f"no run to continue in {self.path.absolute()}; start one without --resume")
            checkpoint = self._checkpoint_of(config)
        elif holds_run:
            if not overwrite:
                raise UserError(
                    f"{self.path} already holds a run; continue it with --resume, replace it with "
                    "--overwrite, or choose another --out"
                )
            self.clear()
        elif self.path.exists():
            if not self.path.is_dir():
                raise UserError(f"{self.path} is a file, expected a folder for the run; choose another --out")
            if any(path not in leftovers for path in self.path.iterdir()):
                raise UserError(
                    f"{self.path} holds files but no run of ours; nothing was touched: choose another --out"
                )
        for path in leftovers:
            path.unlink()
        write_text(self.path / "config.yaml", dump_config(config))
        if resume:
            self._cut_metrics(0 if checkpoint is None else checkpoint["step"])
        return checkpoint

    def _checkpoint_of(self, config: Any) -> dict[str, Any] | None:
        """The checkpoint to go on from with this configuration, which must be that of the run."""
        path = self.path / "config.yaml"
        before = complete_config(type(config), path.read_text(encoding="utf-8"), source=str(path))
        lines = differences(before, dump_config(config))
        changed = [line for line in lines if line.partition(":")[0] not in FREE_KEYS]
        if changed:
            raise UserError(
                "\n  ".join([f"{self.path} was made with another configuration:", *changed])
                + "\ncontinue with the old values, or start a new run with another --out"
            )
        path = self.path / "checkpoint.pt"
        return load_checkpoint(path) if path.is_file() else None

    def _cut_metrics(self, step: int) -> None:
        """Drops lines of steps that will be taken again."""
        path = self.path / "metrics.jsonl"
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            # A line cut short by the kill is later than the checkpoint, whose own lines were complete.
            whole = [line for line in lines if line.endswith("\n")]
            write_text(path, "".join(line for line in whole if json.loads(line)["step"] <= step))

    def clear(self) -> None:
        """Removes the run in the folder, if there is one; other files stay."""
        shutil.rmtree(self.path / "events", ignore_errors=True)
        for name in reversed(OURS):  # config.yaml last: as long as it is there, this is a run's folder
            (self.path / name).unlink(missing_ok=True)

    def record(self, step: int, values: Mapping[str, float | None], **not_reproducible: float) -> None:
        """Appends the values to metrics.jsonl as a line, and writes all to TensorBoard, None left out.

        What differs between repetitions of the run, such as speed, goes to TensorBoard only.
        """
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import, not needed for --help

            self._events = SummaryWriter(str(self.path / "events"), purge_step=step)
        for name, value in {**values, **not_reproducible}.items():
            if value is not None:
                self._events.add_scalar(name, value, step)

    def save_checkpoint(self, content: dict[str, Any]) -> None:
        """Writes checkpoint.pt, as the function `save_checkpoint` does."""
        save_checkpoint(self.path / "checkpoint.pt", content)
        if self._events is not None:
            self._events.flush()

    def write_result(self, result: Mapping[str, Any]) -> None:
        """result.json: what the run ended with."""
        write_text(self.path / "result.json", json.dumps(result, indent=1) + "\n")

    def read_result(self) -> dict[str, Any] | None:
        """The result of a run that ended, None before."""
        path = self.path / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def close(self) -> None:
        """Flushes what TensorBoard still holds."""
        if self._events is not None:
            self._events.close()
