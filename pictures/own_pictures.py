"""Pictures of one's own for a trained network: which there are, where answers may go, and those not read."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from foundation.errors import UserError, plural
from pictures.suffixes import PICTURE_SUFFIXES, count_others, is_hidden, is_picture

_log = logging.getLogger(__name__)
TOLD = 20  # of the pictures that could not be read


class OwnPicture(NamedTuple):
    """A picture's file, and its name relative to the folder that holds all of them."""

    path: Path
    name: str


def list_pictures(
    paths: Path | Sequence[Path], *, limit: int | None = None, leave_out: Path | None = None
) -> list[OwnPicture]:
    """Pictures, and those below folders.

    Args:
        paths: files, and folders searched with their subfolders, leaving out what `is_hidden`. Other files
            there that are no pictures by their suffix are counted in the log.
        limit: at most so many pictures, in the order of paths, in a folder in order of name.
        leave_out: a folder not searched, such as one for drawings.
    Raises:
        UserError: a path does not exist, or holds no picture.
    """
    paths = [paths] if isinstance(paths, Path) else paths
    if not paths:
        raise UserError("no picture was given; name pictures or folders of pictures")
    # By its path without "..", so that no name leads out of the folder that holds all.
    files = {os.path.abspath(file): file for path in paths for file in _pictures_in(path, leave_out)}
    folders = [path.parent if path.is_file() else path for path in paths]
    folder = os.path.commonpath(list(map(os.path.abspath, folders)))
    listed = [OwnPicture(file, os.path.relpath(place, folder)) for place, file in files.items()]
    return listed[:limit]


def _pictures_in(path: Path, leave_out: Path | None) -> list[Path]:
    if path.is_file():
        return [path]
    found = [file for file in path.rglob("*") if not any(map(is_hidden, _below(file, path)))]
    problem = "holds no picture" if path.is_dir() else "does not exist"
    if leave_out is not None and leave_out.resolve().is_relative_to(path.resolve()):
        found = [file for file in found if not file.resolve().is_relative_to(leave_out.resolve())]
        problem = f"holds no picture outside {leave_out}"
    files = [file for file in found if is_picture(file) and file.is_file()]
    if not files:
        raise UserError(f"{path} {problem}; expected a picture or a folder of {', '.join(PICTURE_SUFFIXES)}")
    if others := count_others(found):
        _log.warning("%s: %s", path, others)
    return sorted(files)


def _below(file: Path, folder: Path) -> list[Path]:
    """The file and the folders that it lies in, as far as they are below `folder`."""
    return [file, *file.parents][: len(file.parts) - len(folder.parts)]


def check_answers_folder(out: Path, *, limit: int | None, overwrite: bool) -> None:
    """Refuses, with a UserError, a folder in use, a file, or a number of pictures that is none."""
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be 1 or more, got {limit}")
    if out.is_file():
        raise UserError(f"{out} is a file, expected a folder; choose another --out")
    if not overwrite and out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another --out, or pass --overwrite to write into it")


def report_unread(problems: Sequence[str]) -> None:
    """Ends a command, with a UserError, that could not read some pictures; says what is wrong with each."""
    if problems:
        first = f"{plural(len(problems), 'picture')} could not be read; the others are done:"
        raise UserError("\n  ".join([first, *problems[:TOLD]]))
