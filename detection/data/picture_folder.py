"""Pictures without annotations, to predict on."""

import hashlib
import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from detection.data.annotations import no_objects
from detection.types import Target
from foundation.errors import UserError
from pictures.decoding import image_size
from pictures.suffixes import PICTURE_SUFFIXES, count_others, is_hidden, is_picture

_log = logging.getLogger(__name__)


class PictureFolder:
    """Pictures and those below folders; `image_ids` are the names relative to the folder that holds all."""

    has_truth = False

    def __init__(
        self,
        paths: Path | Sequence[Path],
        classes: Sequence[str],
        category_ids: Sequence[int] | None = None,
        *,
        limit: int | None = None,
        leave_out: Path | None = None,
    ) -> None:
        """List the pictures.

        Args:
            paths: pictures, and folders searched with their subfolders, leaving out what `is_hidden`. Other
                files that are no pictures by their suffix are counted in the log.
            classes: of the detector, so that its labels have names.
            category_ids: the classes' ids in result files, 1…K unless given.
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
        self._files = list(files.values())[:limit]
        self.classes = list(classes)
        self.category_ids = list(range(1, len(classes) + 1) if category_ids is None else category_ids)
        folders = [path.parent if path.is_file() else path for path in paths]
        folder = os.path.commonpath(list(map(os.path.abspath, folders)))
        self.image_ids: list[int | str] = [os.path.relpath(file, folder) for file in list(files)[:limit]]

    def __len__(self) -> int:
        return len(self._files)

    @cached_property
    def image_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every picture; reads them all."""
        return [target.size for target in self.targets]

    @cached_property
    def targets(self) -> list[Target]:
        """One empty Target per picture; reads them all."""
        return [self.load_target(index) for index in range(len(self))]

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        return self._files[index]

    def load_target(self, index: int) -> Target:
        """A Target without objects, of the size the picture has."""
        return no_objects(self.image_ids[index], image_size(self._files[index]))

    def fingerprint(self) -> str:
        """A digest of the pictures' names: there are no annotations."""
        return hashlib.sha256(repr(self.image_ids).encode()).hexdigest()[:16]


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
