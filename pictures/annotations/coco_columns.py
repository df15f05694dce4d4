"""A checked COCO file column by column: as Python's dictionaries, one of COCO's size takes gigabytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from foundation.file_reading import without_collections
from pictures.annotations.coco_checks import FIELDS, check_coco, plain_numbers, sound_columns
from pictures.annotations.coco_masks import can_be_drawn, check_segmentations, segmentation_problems
from pictures.annotations.field_checks import all_known, are_bad_boxes, as_boxes
from pictures.annotations.json_pieces import read_sections
from pictures.annotations.outline_text import Outlines, read_outlines
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
    read: Callable[[bytes], Any] = read_outlines if masks else _without_outlines
    try:
        with file.open("rb") as opened:
            for name, value in read_sections(opened, {"images": from_json, "annotations": read}):
                pieces.sections.add(name)
                if name == "images":
                    pieces.images += [{field: image[field] for field in FIELDS["images"]} for image in value]
                elif name == "categories":
                    pieces.categories = value
                elif name == "annotations":
                    pieces.add(*value)
        return pieces.joined()
    except _UNUSUAL:
        return None


def _without_outlines(piece: bytes) -> tuple[list[Any], None]:
    return from_json(piece), None


class _Pieces:
    """The columns of a file while it is read. Whatever is wrong is a ValueError without words."""

    def __init__(self, masks: bool) -> None:
        self.sections: set[str] = set()  # that the file has
        self.images: list[dict[str, Any]] = []
        self.categories: Any = None
        self._index_of: dict[int | str, int] | None = None  # once there are annotations
        self._known: set[int | str] = set()
        self._packer = MaskPacker() if masks else None
        # Of the objects: ids, category ids, pictures, crowd and boxes; they grow without a copy.
        self._columns = tuple(bytearray() for _ in range(5))

    def add(self, entries: list[Any], outlines: Outlines | None) -> None:
        """Takes some annotations, after all images, as of `read_outlines`."""
        if self._index_of is None:
            self._index_of = {image["id"]: index for index, image in enumerate(self.images)}
            self._known = set(self._index_of)
            pixels = [image["height"] * image["width"] for image in self.images] if self._packer else []
            self._pixels = np.array(pixels, dtype=np.int64)
        columns = sound_columns(entries, "annotations")
        if columns is None or {type(own) for own in columns["id"] + columns["category_id"]} - {int}:
            raise ValueError
        boxes = as_boxes(columns["bbox"])
        if not all_known(columns["image_id"], self._known) or are_bad_boxes(boxes).any():
            raise ValueError
        pictures = [self._index_of[own] for own in columns["image_id"]]
        ids, category_ids, rows = (
            np.array(column, dtype=np.int64) for column in (columns["id"], columns["category_id"], pictures)
        )
        if self._packer is not None:
            segmentations = [entry.get("segmentation") for entry in entries]
            self._check(segmentations, rows, outlines)
            self._packer.add(segmentations, outlines)
        crowd = np.array([bool(entry.get("iscrowd")) for entry in entries], dtype=bool)
        for column, values in zip(self._columns, (ids, category_ids, rows, crowd, boxes), strict=True):
            column += values.data if len(values) else b""

    def _check(
        self, segmentations: list[Any], pictures: NDArray[np.int64], outlines: Outlines | None
    ) -> None:
        """Refuses segmentations as `segmentation_problems`, but for those with outlines looks at these."""
        others = list(range(len(segmentations)))
        if outlines is not None:
            others = np.delete(others, outlines.rows).tolist()
            pixels = self._pixels[pictures[outlines.rows]].repeat(outlines.counts)
            if not can_be_drawn(outlines.hundredths / 100, outlines.lengths, pixels):
                raise ValueError
        images = [self.images[row] for row in pictures[others].tolist()]
        sizes = [(image["height"], image["width"]) for image in images]
        if segmentation_problems([segmentations[row] for row in others], sizes):
            raise ValueError

    def joined(self) -> CocoColumns:
        """All of them, after the last."""
        if not self.sections.issuperset(FIELDS):
            raise ValueError
        content = plain_numbers({"images": self.images, "categories": self.categories, "annotations": []})
        check_coco(content, "")
        ids, category_ids, rows = (np.frombuffer(column, dtype=np.int64) for column in self._columns[:3])
        crowd = np.frombuffer(self._columns[3], dtype=np.bool_)
        boxes = np.frombuffer(self._columns[4], dtype=np.float64).reshape(-1, 4)
        images, categories = content["images"], content["categories"]
        known = {category["id"] for category in categories}
        ids.sort()
        if (ids[1:] == ids[:-1]).any() or set(category_ids.tolist()) - known:
            raise ValueError
        masks = None if self._packer is None else self._packer.packed()
        return CocoColumns(images, categories, rows, category_ids.tolist(), boxes, crowd, masks)
