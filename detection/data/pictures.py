"""Pictures without annotations, to predict on."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch

from detection.types import Target
from engine.errors import UserError
from engine.images import load_image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class PictureFolder:
    """The pictures below a folder, or one picture; `image_ids` are the names relative to the folder."""

    def __init__(self, path: Path, classes: Sequence[str], *, limit: int | None = None) -> None:
        """List the pictures.

        Args:
            path: a picture, or a folder searched with its subfolders.
            classes: of the detector, so that its labels have names.
            limit: at most so many pictures, in order of name.
        Raises:
            UserError: there is no such path, or no picture in it.
        """
        folder = path.parent if path.is_file() else path
        below = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        files = [path] if path.is_file() else below
        if not files:
            problem = "holds no picture" if path.is_dir() else "does not exist"
            raise UserError(
                f"{path} {problem}; expected a picture or a folder of {', '.join(sorted(SUFFIXES))}"
            )
        self._files = files[:limit]
        self.classes = list(classes)
        self.category_ids = list(range(1, len(self.classes) + 1))
        self.image_ids: list[int | str] = [str(file.relative_to(folder)) for file in self._files]

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
        height, width, _ = load_image(self._files[index]).shape
        return Target(
            boxes=torch.zeros(0, 4),
            labels=torch.zeros(0, dtype=torch.int64),
            ignore=torch.zeros(0, dtype=torch.bool),
            image_id=self.image_ids[index],
            size=(height, width),
        )
