"""COCO annotation files as data sets."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detection.data.annotations import PackedObjects
from detection.data.coco_format import read_coco, xywh_boxes
from detection.types import Target
from engine.errors import UserError

_log = logging.getLogger(__name__)


class CocoDataset:
    """The pictures and objects of one COCO annotation file.

    Boxes become xyxy and are clipped to their picture; those without area after that (COCO has a few) are
    dropped and counted in the log. Crowds are read with `ignore` set. Label i + 1 is the category with the
    i-th smallest id. Pictures without objects stay.
    """

    def __init__(self, annotation_file: str | Path, image_folder: str | Path, *, masks: bool = False) -> None:
        """Read the file once.

        Args:
            annotation_file: e.g. coco/annotations/instances_train2017.json.
            image_folder: the `file_name`s of the annotations are relative to it.
            masks: also keep the segmentations, so that `load_target` gives masks.
        Raises:
            UserError: the file is missing or an entry is malformed.
        """
        content = read_coco(annotation_file)
        self.annotation_file = Path(annotation_file)
        images = content["images"]
        categories = sorted(content["categories"], key=lambda category: category["id"])
        self.classes: list[str] = [category["name"] for category in categories]
        self.category_ids: list[int] = [category["id"] for category in categories]
        self.image_ids: list[int | str] = [image["id"] for image in images]
        self.image_sizes: list[tuple[int, int]] = [(image["height"], image["width"]) for image in images]
        self._folder = Path(image_folder)
        self._file_names = np.array([image["file_name"] for image in images], dtype=np.str_)

        index_of = {image_id: index for index, image_id in enumerate(self.image_ids)}
        annotations = sorted(content["annotations"], key=lambda annotation: index_of[annotation["image_id"]])
        sizes = [self.image_sizes[index_of[annotation["image_id"]]] for annotation in annotations]
        boxes = _clipped_xyxy(annotations, np.array(sizes, dtype=np.int64).reshape(-1, 2))
        kept = _rows_with_area(boxes, str(annotation_file))
        annotations = [annotations[row] for row in kept]
        label_of = {category_id: label for label, category_id in enumerate(self.category_ids, start=1)}
        self._objects = PackedObjects.pack(
            image_index=np.array([index_of[a["image_id"]] for a in annotations], dtype=np.int64),
            boxes=boxes[kept],
            labels=np.array([label_of[a["category_id"]] for a in annotations], dtype=np.int64),
            ignore=np.array([bool(a.get("iscrowd", 0)) for a in annotations], dtype=bool),
            image_ids=self.image_ids,
            image_sizes=self.image_sizes,
        )
        sizes = [sizes[row] for row in kept]
        self._segmentations = _Segmentations(annotations, sizes, str(annotation_file)) if masks else None

    def __len__(self) -> int:
        return len(self.image_ids)

    @cached_property
    def targets(self) -> list[Target]:
        """One Target per picture, without masks; for the metrics, not for training workers."""
        return [self._objects.target(index) for index in range(len(self))]

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        return self._folder / str(self._file_names[index])

    def load_target(self, index: int) -> Target:
        """The objects of one picture, with masks if the data set was opened with them."""
        target = self._objects.target(index)
        if self._segmentations is None:
            return target
        rows = self._objects.rows(index)
        masks = [self._segmentations.decode(row, target.size) for row in range(rows.start, rows.stop)]
        return replace(target, masks=torch.from_numpy(np.stack(masks)) if masks else _no_masks(target.size))


def _clipped_xyxy(annotations: Sequence[dict[str, Any]], sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Boxes (T, 4) as xyxy inside pictures of `sizes` (T, 2), height and width."""
    x, y, width, height = xywh_boxes(annotations, lambda index: f"annotation {annotations[index]['id']}").T
    corners = np.stack([x, y, x + width, y + height], axis=1)
    return np.clip(corners, 0, sizes[:, [1, 0, 1, 0]]).astype(np.float32)


def _rows_with_area(boxes: NDArray[np.float32], where: str) -> NDArray[np.int64]:
    kept = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    if dropped := len(boxes) - len(kept):
        _log.warning(
            "%s: dropped %d of %d boxes without area inside their picture", where, dropped, len(boxes)
        )
    return kept


def _no_masks(size: tuple[int, int]) -> Tensor:
    return torch.zeros((0, *size), dtype=torch.bool)


class _Segmentations:
    """Polygons and run-lengths as one array of JSON text, for the reason given in annotations.py."""

    def __init__(
        self, annotations: Sequence[dict[str, Any]], sizes: Sequence[tuple[int, int]], where: str
    ) -> None:
        texts = []
        for annotation, size in zip(annotations, sizes, strict=True):
            if not _is_segmentation(annotation.get("segmentation"), size):
                raise UserError(
                    f"{where}: annotation {annotation['id']}: segmentation is missing or malformed; expected "
                    "polygons [[x1, y1, x2, y2, x3, y3, …], …] or a run-length {size, counts} of size "
                    f"{list(size)} (height, width): correct it or do without masks"
                )
            texts.append(json.dumps(annotation["segmentation"]).encode())
        self._text = np.frombuffer(b"".join(texts), dtype=np.uint8)
        self._starts = np.cumsum([0, *map(len, texts)])

    def decode(self, row: int, size: tuple[int, int]) -> NDArray[np.bool_]:
        """The mask (H, W) of one object."""
        from pycocotools import mask as coco_mask  # not needed to import this module

        segmentation = json.loads(self._text[self._starts[row] : self._starts[row + 1]].tobytes())
        if isinstance(segmentation, list):
            encoded = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
        elif isinstance(segmentation["counts"], list):
            encoded = coco_mask.frPyObjects(segmentation, *size)
        else:
            encoded = segmentation
        return coco_mask.decode(encoded).astype(bool)


def _is_segmentation(value: Any, size: tuple[int, int]) -> bool:
    if isinstance(value, dict):
        counts = value.get("counts")
        if isinstance(counts, list):
            fits = all(isinstance(count, int) and count >= 0 for count in counts)
            fits = fits and sum(counts) == math.prod(size)
        else:
            fits = isinstance(counts, str)
        return fits and value.get("size") == list(size)
    return isinstance(value, list) and bool(value) and all(_is_polygon(polygon) for polygon in value)


def _is_polygon(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 6 and len(value) % 2 == 0
