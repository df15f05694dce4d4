"""The folder of an analysis: arrays that are measured once, the figure, and result.json."""

import hashlib
import json
import logging
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from analysis.arrays import Arrays, load_about, load_arrays, save_arrays
from foundation.atomic_files import write_text
from foundation.errors import UserError
from pictures.plots import save_plot
from training.run_folder import LOCK, take_lock

logger = logging.getLogger(__name__)

LONGEST_NAME = 80  # characters of a label in the name of a file


@contextmanager
def working_in(out: Path) -> Iterator[None]:
    """Makes the folder for the results, in which no other process works meanwhile.

    Raises:
        UserError: it cannot be made, or another process works in it.
    """
    lock = FileLock(out / LOCK)
    try:
        take_lock(lock)
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror}; choose a folder that can be written") from error
    try:
        yield
    finally:
        lock.release()


def file_name(label: str) -> str:
    """A label without what file names should not have, nor too long; different labels have different ones."""
    plain = re.sub(r"[^\w.-]+", "_", label).strip("_")[:LONGEST_NAME]
    return plain if plain == label else f"{plain}_{_digits_of(label)}"


def _digits_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def measured_once(
    out: Path, about: Mapping[str, Any], measure: Callable[..., Arrays], *, resumes: bool = False
) -> Arrays:
    """What the network's file in the folder holds about the same, or else is measured and saved there.

    Args:
        about: what decides the arrays, "analysis" and "network", its label, among it.
        resumes: `measure` takes `begun` and `keep`, see `analysis.kinds.Kind`. What it has kept lies beside
            the file, under a name that no other options have, until it is done.
    Raises:
        UserError: the file is of another analysis.
    """
    name, label = about["analysis"], about["network"]
    file = out / f"{file_name(label)}.npz"
    found = load_arrays(file, about)
    if found is not None:
        logger.info("%s of %s is there already, from the same weights and options", name, label)
        return found
    held = load_about(file).get("analysis", name)
    if held != name:
        raise UserError(f"{file} holds {held} of {label}, which {name} would replace; choose another --out")
    logger.info("%s of %s", name, label)
    unfinished = file.with_suffix(f".{_digits_of(json.dumps(about))}.unfinished.npz")
    resumed: dict[str, Any] = {}
    if resumes:
        resumed["begun"] = load_arrays(unfinished, about)
        resumed["keep"] = partial(save_arrays, unfinished, about=about)
    found = measure(**resumed)
    save_arrays(file, found, about)
    unfinished.unlink(missing_ok=True)
    return found


def check_figures(label: str, figures: Mapping[str, Any]) -> None:
    """Refuses, with a `UserError`, a network's figures of merit if one is no number."""
    for name, value in figures.items():
        try:
            json.dumps(value, allow_nan=False)
        except ValueError as error:
            raise UserError(
                f"{label}: {name.replace('_', ' ')} cannot be told, since the network's outputs for these "
                "pictures are not finite; take weights of a training that did not diverge"
            ) from error


def write_result(
    out: Path,
    figure: Any,
    overrides: Sequence[str],
    result: dict[str, Any],
    *,
    weights: Sequence[Path] = (),
    configs: Sequence[Path] = (),
) -> dict[str, Any]:
    """Writes the figure, and last result.json, which begins with the command that repeats the analysis."""
    name = result["analysis"]
    files = ["--config", *map(str, configs)] if configs else []
    files += ["--weights", *map(str, weights)] if weights else []
    command = ["python", "tools/analyze.py", name, *files, "--out", str(out), *overrides]
    result = {"command": shlex.join(command), **result}
    (out / "result.json").unlink(missing_ok=True)  # so that it is always of what lies beside it
    save_plot(figure, out / name)
    write_text(out / "result.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    return result
