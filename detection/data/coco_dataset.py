"""COCO annotation files as data sets."""

import json
import logging
from collections.abc import Sequence
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
from pictures.annotations.coco_masks import check_segmentations, draw_mask
from pictures.annotations.field_checks import xywh_boxes
from pictures.file_names import find_file

_log = logging.getLogger(__name__)


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
        stored = read_json(annotation_file) if content is None else content
        is_file = content is None
        content = with_annotations(stored, str(annotation_file))
        content = with_sizes(content, Path(image_folder), str(annotation_file))
        check_coco(content, str(annotation_file))
        # As one text, for the reason given in annotations.py.
        self._content = None if is_file else json.dumps(content).encode()
        self.has_truth = "annotations" in stored
        self._annotation_file = Path(annotation_file)
        images = content["images"]
        categories = sorted(content["categories"], key=lambda category: category["id"])
        self.classes: list[str] = [category["name"] for category in categories]
        self.category_ids: list[int] = [category["id"] for category in categories]
        self.image_ids: list[int | str] = [image["id"] for image in images]
        self.image_sizes: list[tuple[int, int]] = [(image["height"], image["width"]) for image in images]
        self.image_folder = Path(image_folder)
        self._file_names = np.array([image["file_name"] for image in images], dtype=np.str_)

        index_of = {image_id: index for index, image_id in enumerate(self.image_ids)}
        label_of = {category_id: label for label, category_id in enumerate(self.category_ids, start=1)}
        annotations = sorted(content["annotations"], key=lambda annotation: index_of[annotation["image_id"]])
        pictures = np.array([index_of[a["image_id"]] for a in annotations], dtype=np.int64)
        sizes = np.array(self.image_sizes, dtype=np.int64).reshape(-1, 2)[pictures]

        def name(row: int) -> str:
            return f"{annotation_file}: annotation {annotations[row]['id']}"

        x, y, width, height = xywh_boxes(annotations, name).T
        corners = np.stack([x, y, x + width, y + height], axis=1)
        if empty := int((~_has_area(_clipped(corners, sizes))).sum()):
            text = "%s: %d of %d boxes have no area inside their picture: scored, but not trained on"
            _log.warning(text, annotation_file, empty, len(corners))
        self._objects = PackedObjects.pack(
            image_index=pictures,
            boxes=corners,
            labels=np.array([label_of[a["category_id"]] for a in annotations], dtype=np.int64),
            ignore=np.array([bool(a.get("iscrowd", 0)) for a in annotations], dtype=bool),
            image_ids=self.image_ids,
            image_sizes=self.image_sizes,
        )
        refuse_turned(self._objects, self.image_path, str(annotation_file))
        self._segmentations: _Segmentations | None = None
        if masks:
            segmentations = [annotation.get("segmentation") for annotation in annotations]
            check_segmentations(segmentations, list(map(tuple, sizes.tolist())), name)
            self._segmentations = _Segmentations(segmentations)

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
        segmentations = b"" if self._segmentations is None else self._segmentations.text.tobytes()
        return self._objects.fingerprint(list(map(str, self._file_names)), segmentations)

    def load_target(self, index: int) -> Target:
        """The objects of one picture for training: their boxes clipped to it, without those of no area there.

        With masks if the data set was opened with them.
        """
        whole = self._objects.target(index)
        boxes = _clipped(whole.boxes.numpy(), np.array([whole.size]))
        seen = np.flatnonzero(_has_area(boxes))
        rows = torch.from_numpy(seen)
        target = replace(whole.of_rows(rows), boxes=torch.from_numpy(boxes)[rows])
        if self._segmentations is None:
            return target
        read, first = self._segmentations.read, int(self._objects.starts[index])

        def mask(
            number: int, /, resized: tuple[int, int] | None = None, window: Window | None = None
        ) -> NDArray[np.bool_]:
            return draw_mask(read(first + int(seen[number])), target.size, resized, window)

        return replace(target, mask=mask)


def _clipped(boxes: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Boxes (R, 4) xyxy cut at the border of pictures of `sizes` (R, 2) or (1, 2), height and width."""
    return np.clip(boxes, 0, sizes[:, [1, 0, 1, 0]]).astype(np.float32)


def _has_area(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1))


class _Segmentations:
    """Polygons and run-lengths as one array of JSON text, for the reason given in annotations.py."""

    def __init__(self, segmentations: Sequence[Any]) -> None:
        texts = [json.dumps(segmentation).encode() for segmentation in segmentations]
        self.text = np.frombuffer(b"".join(texts), dtype=np.uint8)
        self._starts = np.cumsum([0, *map(len, texts)])

    def read(self, row: int) -> Any:
        """The segmentation of one object."""
        return json.loads(self.text[self._starts[row] : self._starts[row + 1]].tobytes())
