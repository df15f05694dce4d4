"""Pictures without annotations, to predict on."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from detection.data.annotations import no_objects
from detection.types import Target
from pictures.decoding import image_size
from pictures.own_pictures import list_pictures


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
            paths, limit, leave_out: as of `list_pictures`, as are the errors.
            classes: of the detector, so that its labels have names.
            category_ids: the classes' ids in result files, 1…K unless given.
        """
        listed = list_pictures(paths, limit=limit, leave_out=leave_out)
        self._files = [picture.path for picture in listed]
        self.image_ids: list[int | str] = [picture.name for picture in listed]
        self.classes = list(classes)
        self.category_ids = list(range(1, len(classes) + 1) if category_ids is None else category_ids)

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
