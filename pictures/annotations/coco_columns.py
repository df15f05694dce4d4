"""A checked COCO file column by column: as Python's dictionaries, one of COCO's size takes gigabytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.file_reading import without_collections
from pictures.annotations.coco_checks import FIELDS, check_coco, sound_columns
from pictures.annotations.coco_masks import check_segmentations, segmentation_problems
from pictures.annotations.field_checks import all_known, are_bad_boxes, as_boxes
from pictures.annotations.json_pieces import read_sections
from pictures.annotations.packed_masks import MaskPacker, PackedMasks

_UNUSUAL = (ValueError, LookupError, TypeError, OverflowError, RecursionError, OSError)


@dataclass(frozen=True)
class CocoColumns:
    """The checked content of a COCO file.

    Attributes:
        images, categories: their entries; those of a file have the fields of `FIELDS` alone.
        pictures: (T,) int64, which of the images each object is in.
        category_ids: T.
        boxes: (T, 4) float64 x, y, width, height.
        crowd: (T,) bool.
        masks: of the objects, if they were asked for.
    """

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    pictures: NDArray[np.int64]
    category_ids: Sequence[int]
    boxes: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    masks: PackedMasks | None


def columns_of(content: dict[str, Any], where: str, *, masks: bool) -> CocoColumns:
    """Of content that `check_coco` passes, the objects in the order of their pictures.

    Raises:
        UserError: masks are asked for, and one is missing or malformed; `where` is named first.
    """
    images = content["images"]
    index_of = {image["id"]: index for index, image in enumerate(images)}
    objects = sorted(content["annotations"], key=lambda entry: index_of[entry["image_id"]])
    packer = MaskPacker()
    if masks:
        segmentations = [entry.get("segmentation") for entry in objects]
        in_pictures = [images[index_of[entry["image_id"]]] for entry in objects]
        sizes = [(image["height"], image["width"]) for image in in_pictures]
        check_segmentations(segmentations, sizes, lambda row: f"{where}: annotation {objects[row]['id']}")
        packer.add(segmentations)
    return CocoColumns(
        images,
        content["categories"],
        np.array([index_of[entry["image_id"]] for entry in objects], dtype=np.int64),
        [entry["category_id"] for entry in objects],
        as_boxes([entry["bbox"] for entry in objects]),
        np.array([bool(entry.get("iscrowd")) for entry in objects], dtype=bool),
        packer.packed() if masks else None,
    )


@without_collections()
def read_columns(file: Path, *, masks: bool) -> CocoColumns | None:
    """The content of a file, read piece by piece, the objects in the order of the file.

    None where it has to be read whole, because something is wrong or unusual: whatever `check_coco` and
    `check_segmentations` refuse, ids of objects that are no whole numbers of 64 bits, pictures without sizes,
    objects before their pictures, other encodings.
    """
    pieces = _Pieces(masks)
    try:
        with file.open("rb") as opened:
            for name, value in read_sections(opened, ("images", "annotations")):
                if name == "images":
                    pieces.images += [{field: image[field] for field in FIELDS["images"]} for image in value]
                elif name == "categories":
                    pieces.categories = value
                elif name == "annotations":
                    pieces.add(value)
        return pieces.joined()
    except _UNUSUAL:
        return None


class _Pieces:
    """The columns of a file while it is read. Whatever is wrong is a ValueError without words."""

    def __init__(self, masks: bool) -> None:
        self.images: list[dict[str, Any]] = []
        self.categories: Any = None
        self._index_of: dict[int | str, int] = {}
        self._known: set[int | str] = set()
        self._packer = MaskPacker() if masks else None
        self._objects: list[tuple[NDArray[Any], ...]] = []

    def add(self, entries: list[Any]) -> None:
        """Takes some annotations, after all images."""
        if not self._objects:
            self._index_of = {image["id"]: index for index, image in enumerate(self.images)}
            self._known = set(self._index_of)
        columns = sound_columns(entries, "annotations")
        if columns is None or {type(own) for own in columns["id"] + columns["category_id"]} - {int}:
            raise ValueError
        boxes = as_boxes(columns["bbox"])
        if not all_known(columns["image_id"], self._known) or are_bad_boxes(boxes).any():
            raise ValueError
        pictures = [self._index_of[own] for own in columns["image_id"]]
        if self._packer is not None:
            segmentations = [entry.get("segmentation") for entry in entries]
            sizes = [(self.images[row]["height"], self.images[row]["width"]) for row in pictures]
            if segmentation_problems(segmentations, sizes):
                raise ValueError
            self._packer.add(segmentations)
        ids, category_ids, rows = (
            np.array(column, dtype=np.int64) for column in (columns["id"], columns["category_id"], pictures)
        )
        crowd = np.array([bool(entry.get("iscrowd")) for entry in entries], dtype=bool)
        self._objects.append((ids, category_ids, rows, crowd, boxes))

    def joined(self) -> CocoColumns:
        """All of them, after the last."""
        check_coco({"images": self.images, "categories": self.categories, "annotations": []}, "")
        ids, category_ids, rows, crowd, boxes = map(np.concatenate, zip(*self._objects, strict=True))
        known = {category["id"] for category in self.categories}
        if len(np.unique(ids)) < len(ids) or set(np.unique(category_ids).tolist()) - known:
            raise ValueError
        masks = None if self._packer is None else self._packer.packed()
        return CocoColumns(self.images, self.categories, rows, category_ids.tolist(), boxes, crowd, masks)
