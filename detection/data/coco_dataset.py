"""COCO annotation files as data sets."""

import json
import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.data.annotations import PackedObjects, refuse_turned
from detection.types import Target, Window
from pictures.annotations.coco_checks import check_coco, read_coco, read_json, with_annotations, with_sizes
from pictures.annotations.coco_columns import columns_of, read_columns
from pictures.annotations.coco_masks import draw_mask
from pictures.file_names import find_file

_log = logging.getLogger(__name__)

_AT_ONCE = 1 << 16  # boxes


class CocoDataset:
    """The pictures and objects of one COCO annotation file.

    Boxes become xyxy. For training they are clipped to their picture, and those without area after that
    (COCO has a few) are left out and counted in the log; scoring takes all of them as the file has them, as
    COCO's own tools do. Crowds are read with `ignore` set. Label i + 1 is the category with the i-th smallest
    id. Pictures without objects stay. A file that lists no annotations, such as COCO's own
    image_info_test-dev2017.json, has no truth.
    """

    def __init__(
        self,
        annotation_file: str | Path,
        image_folder: str | Path,
        *,
        masks: bool = False,
        content: dict[str, Any] | None = None,
    ) -> None:
        """Read the file once.

        Args:
            annotation_file: e.g. coco/annotations/instances_train2017.json.
            image_folder: the `file_name`s of the annotations are relative to it. Pictures that state no size
                have that of their files.
            masks: also keep the segmentations, so that `load_target` gives masks.
            content: what such a file would hold, of a set in another layout; `annotation_file` is then only
                what errors name.
        Raises:
            UserError: the file is missing or an entry is malformed.
        """
        where = str(annotation_file)
        columns = read_columns(Path(annotation_file), masks=masks) if content is None else None
        self.has_truth = True
        if columns is None:
            stored = read_json(annotation_file) if content is None else content
            self.has_truth = "annotations" in stored
            whole = with_sizes(with_annotations(stored, where), Path(image_folder), where)
            check_coco(whole, where)
            columns = columns_of(whole, where, masks=masks)
        # As one text, for the reason given in annotations.py.
        self._content = None if content is None else json.dumps(whole).encode()
        self._annotation_file = Path(annotation_file)
        images = columns.images
        categories = sorted(columns.categories, key=lambda category: category["id"])
        self.classes: list[str] = [category["name"] for category in categories]
        self.category_ids: list[int] = [category["id"] for category in categories]
        self.image_ids: list[int | str] = [image["id"] for image in images]
        self.image_sizes: list[tuple[int, int]] = [(image["height"], image["width"]) for image in images]
        self.image_folder = Path(image_folder)
        self._file_names = np.array([image["file_name"] for image in images], dtype=np.str_)

        order = np.argsort(columns.pictures, kind="stable")
        label_of = {category_id: label for label, category_id in enumerate(self.category_ids, start=1)}
        labels = np.array([label_of[own] for own in columns.category_ids], dtype=np.int64)
        corners = columns.boxes[order]
        corners[:, 2:] += corners[:, :2]
        self._objects = PackedObjects.pack(
            image_index=columns.pictures[order],
            boxes=corners,
            labels=labels[order],
            ignore=columns.crowd[order],
            image_ids=self.image_ids,
            image_sizes=self.image_sizes,
        )
        if empty := _count_empty(self._objects):
            text = "%s: %d of %d boxes have no area inside their picture: scored, but not trained on"
            _log.warning(text, annotation_file, empty, len(corners))
        refuse_turned(self._objects, self.image_path, str(annotation_file))
        self._masks, self._order = columns.masks, order

    def __len__(self) -> int:
        return len(self.image_ids)

    @cached_property
    def targets(self) -> list[Target]:
        """One Target per picture, without masks, with the boxes as the file states them."""
        return [self._objects.target(index) for index in range(len(self))]

    def image_path(self, index: int) -> Path:
        """The picture's file, found as `find_file` does."""
        return find_file(self.image_folder, str(self._file_names[index]))

    def truth(self) -> dict[str, Any]:
        """The checked content of the annotation file, or of what was given in its place, read anew."""
        if self._content is None:
            return read_coco(self._annotation_file, self.image_folder)
        return dict(json.loads(self._content))

    def fingerprint(self) -> str:
        """A digest of file names and annotations, with segmentations where the set was opened with them."""
        masks = b"" if self._masks is None else self._masks.digest() + self._order.tobytes()
        return self._objects.fingerprint(list(map(str, self._file_names)), masks)

    def load_target(self, index: int) -> Target:
        """The objects of one picture for training: their boxes clipped to it, without those of no area there.

        With masks if the data set was opened with them.
        """
        whole = self._objects.target(index)
        boxes = _clipped(whole.boxes.numpy(), np.array([whole.size]))
        seen = np.flatnonzero(_has_area(boxes))
        rows = torch.from_numpy(seen)
        target = replace(whole.of_rows(rows), boxes=torch.from_numpy(boxes)[rows])
        if self._masks is None:
            return target
        masks, rows_of_masks = self._masks, self._order[self._objects.starts[index] + seen]

        def mask(
            number: int, /, resized: tuple[int, int] | None = None, window: Window | None = None
        ) -> NDArray[np.bool_]:
            return draw_mask(masks.read(rows_of_masks[number]), target.size, resized, window)

        return replace(target, mask=mask)


def _count_empty(objects: PackedObjects) -> int:
    """How many boxes have no area inside their picture; some at a time, as all of COCO's take much memory."""
    owners, count = objects.owners(), 0
    for start in range(0, len(owners), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        count += int((~_has_area(_clipped(objects.boxes[some], objects.sizes[owners[some]]))).sum())
    return count


def _clipped(boxes: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Boxes (R, 4) xyxy cut at the border of pictures of `sizes` (R, 2) or (1, 2), height and width."""
    return np.clip(boxes, 0, sizes[:, [1, 0, 1, 0]]).astype(np.float32)


def _has_area(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
