"""What every run folder tells of itself: dates, device, weights, recipe, and the command that repeats it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from backbones.weights.downloads import digest
from foundation.errors import UserError, plural
from foundation.file_reading import read_json, read_text
from reporting.learning_curves import Entries, last_scores
from reporting.page.embedded_pictures import gallery
from reporting.page.page_parts import Code, Facts, Note, Part, Section
from reporting.page.wording import size
from training.config import Schema, dump_config, parse_config
from training.optim import describe_lr

LOG_LINES = 400  # of the end of the log, shown folded
_STAMP = re.compile(r"^\W?(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)")
# What a training says of its device: "11.18 M parameters to train, 0.00 M fixed; cpu, fp32; …".
_DEVICE = re.compile(r"M fixed; ([^;]+);")
_VERSIONS = re.compile(r"residual-backbones[ ,].*, Python \S+")


def read_result(folder: Path) -> dict[str, Any] | None:
    """What result.json holds; None of a run that has not ended.

    Raises:
        UserError: it is damaged, or no result.
    """
    file = folder / "result.json"
    if not file.is_file():
        return None
    remedy = "remove it, and --resume, or the command that made it, makes it anew"
    result = read_json(file, remedy)
    if not isinstance(result, dict) or not isinstance(result.get("scores", {}), dict):
        raise UserError(f"{file} holds no result of this toolkit; {remedy}")
    return result


def evaluated_config(schema: type[Schema], folder: Path, about: Mapping[str, Any]) -> Schema | None:
    """The configuration of an evaluation, as its result says; None where it says none.

    Args:
        about: "evaluated" of the result.
    Raises:
        UserError: this release does not know the keys or values.
    """
    if "config" not in about:
        return None
    return parse_config(schema, about["config"], source=f"{folder / 'result.json'}: config")


def result_so_far(folder: Path, entries: Entries, notes: list[Note]) -> dict[str, Any]:
    """What result.json of a training holds, or of one under way its last evaluation, which a note then says.

    Args:
        entries: of its metrics.jsonl.
        notes: a note is added here.
    Raises:
        UserError: the result is damaged, or the run was never evaluated.
    """
    result = read_result(folder)
    if result is None:
        step, scores = last_scores(entries)
        notes.append(Note(f"The run has not ended: its figures are of step {step:,}.", warning=True))
        result = {"scores": scores, "step": step}
    return result


def when(folder: Path) -> list[tuple[str, str]]:
    """When the run began and ended: of its log, or else when its files were written."""
    stamps = [match for line in _log(folder) if (match := _STAMP.match(line))]
    if stamps:
        return [("Began", " ".join(stamps[0].groups())), ("Last word", " ".join(stamps[-1].groups()))]
    names = (("Began", "config.yaml"), ("Ended", "result.json"))
    found = [(name, folder / file) for name, file in names if (folder / file).is_file()]
    return [(name, f"{_date(file)}, by the date of {file.name}") for name, file in found]


def _date(file: Path) -> str:
    return datetime.fromtimestamp(file.stat().st_mtime).astimezone().strftime("%Y-%m-%d %H:%M")


def _log(folder: Path) -> list[str]:
    file = folder / "log.txt"
    return read_text(file, "remove it").splitlines() if file.is_file() else []


def of_training(folder: Path, config: Any, result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rows of every training: steps, recipe, device and versions, dates, weights."""
    files = [folder / "last.safetensors", folder / "best.safetensors"]
    return [
        steps(result),
        *(recipe(config) + where(folder, config) + when(folder)),
        *weights(files),
    ]


def steps(result: Mapping[str, Any]) -> tuple[str, str]:
    """Of which step the figures are, and which was the best."""
    step, best = result.get("step"), result.get("best", {}).get("step")
    of = f"after step {step:,}" if isinstance(step, int) else "of the last evaluation"
    return "Figures", of + (f"; the best evaluation was at step {best:,}" if isinstance(best, int) else "")


def where(folder: Path, config: Any) -> list[tuple[str, str]]:
    """Device, precision and versions, as the log tells, else as configured."""
    text = "\n".join(_log(folder))
    if found := _DEVICE.findall(text):
        device = found[-1]
    else:
        device = (
            f"run.device={config.run.device}, {config.run.precision}; the folder does not say which it was"
        )
    versions = [("Versions", found[-1]) for found in [_VERSIONS.findall(text)] if found]
    return [("Device", device), *versions]


def recipe(config: Any) -> list[tuple[str, str]]:
    """Learning rate, its schedule, steps and seed."""
    schedule, optim = config.schedule, config.optim
    how = {
        "cosine": "cosine to zero",
        "poly": f"poly to zero, power {schedule.power:g}",
        "plateau": f"times {schedule.gamma:g} where the error stands still",
    }
    steps = ", ".join(f"{step:,}" for step in schedule.milestones)
    constant = f"times {schedule.gamma:g} after {steps} steps" if steps else "constant"
    warm = f"; {schedule.warmup} warm-up of {schedule.warmup_steps:,} steps" if schedule.warmup_steps else ""
    decay = f"momentum {optim.momentum:g}, weight decay {optim.weight_decay:g}"
    return [
        ("Recipe", f"{describe_lr(optim)}; {how.get(schedule.kind, constant)}{warm}; {decay}"),
        ("Length", f"{plural(schedule.total_steps, 'step')} of {plural(optim.batch_size, 'picture')}"),
        ("Seed", str(config.run.seed)),
    ]


def weights(files: Sequence[Path]) -> list[tuple[str, str]]:
    """Of the files that are there, size and digest."""
    return [
        (file.name, f"{size(file.stat().st_size)}, SHA-256 {digest(file)}")
        for file in files
        if file.is_file()
    ]


def repeat(tool: str, folder: Path) -> Section:
    """The command that makes the run again, from its own configuration, in another folder."""
    out = folder.with_name(f"{folder.name}_again")
    command = ["python", f"tools/{tool}.py", "--config", str(folder / "config.yaml"), "--out", str(out)]
    return Section("Repeat it", [Code(shlex.join(command)), Note("From the folder the run was started in.")])


def appendix(folder: Path, config: Any | None) -> list[Section]:
    """The whole configuration, and the end of the log, folded."""
    sections = []
    if config is not None:
        sections.append(Section("Configuration", [Code(dump_config(config))], folded=True))
    if lines := _log(folder):
        cut = [Note(f"The last {LOG_LINES} of {len(lines):,} lines.")] if len(lines) > LOG_LINES else []
        parts: list[Part] = [*cut, Code("\n".join(lines[-LOG_LINES:]))]
        sections.append(Section("Log", parts, folded=True))
    return sections


def facts(rows: Sequence[tuple[str, str]]) -> Section:
    """The first section of every story."""
    return Section("What was run", [Facts(rows)])


def pictures_of(folder: Path) -> list[Section]:
    """Pictures that a training leaves in its folder: validation, first batches, statistics of the labels."""
    found = (
        ("Validation pictures", sorted((folder / "validation").rglob("*.[pj][np]g")), True),
        ("First training batches", sorted((folder / "batches").rglob("*.[pj][np]g")), False),
    )
    sections = [Section(title, gallery(files, wide=True, last=last)) for title, files, last in found if files]
    labels = folder / "labels.png"
    return [
        *sections,
        *([Section("Labels", gallery([labels], wide=True, plot=True))] if labels.is_file() else []),
    ]
