"""Data sets whose label maps are PNGs, one beside each picture, and several data sets as one."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foundation.errors import UserError, first_difference
from foundation.file_reading import readable
from pictures.decoding import upright_and_stored_size
from pictures.suffixes import is_picture
from segmentation.data.label_maps import Labels, classes_of, read_label_map
from segmentation.types import IGNORED, SegmentationDataset


class MaskDataset:
    """Pictures, and a PNG with the label map of each.

    Paths are kept in arrays: lists would be copied page by page into every worker process, because the
    reference counts of Python objects change when they are read.
    """

    def __init__(
        self,
        pictures: Sequence[Path],
        masks: Sequence[Path] | None,
        classes: Sequence[str],
        *,
        ids: Sequence[str],
        first: int = 0,
    ) -> None:
        """Take the files as they are; each label map is checked when it is loaded.

        Args:
            masks: None where nobody but an evaluation server knows them.
            ids: what messages and files of predictions call the pictures.
            first: the index that the files have for class 0; smaller ones are ignored.
        Raises:
            UserError: two pictures have one name.
        """
        seen: set[str] = set()
        for image_id in ids:
            if image_id in seen:
                raise UserError(f"picture {image_id} is in the set a second time; expected every one once")
            seen.add(image_id)
        self.classes, self.has_truth, self.first = list(classes), masks is not None, first
        self._pictures, self._ids = _texts(list(map(str, pictures))), _texts(ids)
        self._masks = None if masks is None else _texts(list(map(str, masks)))

    def __len__(self) -> int:
        return len(self._ids)

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        return Path(self._pictures[index])

    def mask_path(self, index: int) -> Path | None:
        """The file of the picture's label map; None where nobody knows it."""
        return None if self._masks is None else Path(self._masks[index])

    def image_id(self, index: int) -> str:
        """What messages and files of predictions call a picture."""
        return str(self._ids[index])

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of the upright picture, or as it is stored where only that fits its label map."""
        upright, stored = upright_and_stored_size(self.image_path(index))
        if upright != stored and self.has_truth and self.load_labels(index).shape == stored:
            return stored
        return upright

    def load_labels(self, index: int) -> Labels:
        """(H, W) classes or `IGNORED`; all of it is ignored where the truth is unknown.

        Raises:
            UserError: the file is missing, cannot be read, or holds an index that is of no class.
        """
        mask = self.mask_path(index)
        if mask is None:
            return np.full(upright_and_stored_size(self.image_path(index))[0], IGNORED, dtype=np.uint8)
        return classes_of(read_label_map(mask), len(self.classes), self.first, mask)

    def fingerprint(self) -> str:
        """A digest of the classes, the pictures' names and the bytes of all label maps."""
        digest = hashlib.sha256("\n".join([*self.classes, "", *map(str, self._ids)]).encode())
        for index in range(len(self) if self.has_truth else 0):
            mask = self.mask_path(index)
            assert mask is not None
            with readable(mask, "expected the label map of a picture"):
                digest.update(hashlib.sha256(mask.read_bytes()).digest())
        return digest.hexdigest()[:16]


def _texts(values: Sequence[str]) -> np.ndarray:
    return np.array(values, dtype=np.str_)


class JoinedLabels:
    """Several data sets of the same classes, one after the other."""

    def __init__(self, parts: Sequence[SegmentationDataset], name: str) -> None:
        """Join the parts of a split; UserError where classes differ or a picture is in two of them."""
        for part in parts[1:]:
            if part.classes != parts[0].classes:
                difference = first_difference(parts[0].classes, part.classes)
                raise UserError(
                    f"the parts of {name} have different classes{difference}; train on one of them"
                )
        self.classes, self.has_truth = parts[0].classes, all(part.has_truth for part in parts)
        self._parts, self._ends = parts, np.cumsum([len(part) for part in parts])
        ids = [part.image_id(index) for part in parts for index in range(len(part))]
        if len(set(ids)) < len(ids):
            double = next(image_id for image_id, number in Counter(ids).items() if number > 1)
            raise UserError(f"picture {double} is in two parts of {name}; choose splits without overlap")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        part, place = self._place(index)
        return part.image_path(place)

    def image_id(self, index: int) -> str:
        """What messages and files of predictions call a picture."""
        part, place = self._place(index)
        return part.image_id(place)

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of the picture's file."""
        part, place = self._place(index)
        return part.image_size(place)

    def load_labels(self, index: int) -> Labels:
        """The label map of the part that has the picture."""
        part, place = self._place(index)
        return part.load_labels(place)

    def fingerprint(self) -> str:
        """A digest of those of the parts."""
        return hashlib.sha256("".join(part.fingerprint() for part in self._parts).encode()).hexdigest()[:16]

    def _place(self, index: int) -> tuple[SegmentationDataset, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        part = self._parts[number]
        return part, index - int(self._ends[number]) + len(part)


def pictures_by_stem(folder: Path, expected: str) -> dict[str, Path]:
    """The pictures of a folder by name without suffix, sorted.

    Raises:
        UserError: there is no such folder, or two pictures differ in suffix alone.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {expected}")
    found: dict[str, Path] = {}
    for file in sorted(path for path in folder.iterdir() if is_picture(path)):
        if file.stem in found:
            raise UserError(f"{found[file.stem]} and {file.name} differ in suffix alone; remove one of them")
        found[file.stem] = file
    return found
