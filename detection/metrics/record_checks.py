"""Result records checked before they are scored, so that none counts as something else than it says."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UserError
from pictures.annotations.coco_masks import check_segmentations
from pictures.annotations.field_checks import as_numbers, check_known, shown, xywh_boxes

Record = dict[str, Any]


@dataclass(frozen=True)
class Columns:
    """Result records, checked, column by column.

    Attributes:
        image_ids, category_ids: D, the data set's own.
        scores: (D,).
        boxes: (D, 4) x, y, width, height; empty where only masks were asked for.
    """

    image_ids: list[int | str]
    category_ids: list[int]
    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]


def id_order(own: int | str) -> tuple[bool, int | str]:
    """Sorts the ids of pictures as COCO's tools score them: numbers, then text."""
    return isinstance(own, str), own


def check_records(
    records: Any, image_ids: Collection, category_ids: Collection, where: str, shape: str = "bbox"
) -> Columns:
    """Refuse result records that would be scored as something else than they say.

    Args:
        where: named in errors, e.g. the file.
        shape: the field that says where the object is, "bbox" or "segmentation".
    Raises:
        UserError: a field is missing, an id is unknown, a score is not finite, a box has a negative size.
    """

    def name(index: int) -> str:
        return f"{where}: record {index}"

    needed = {"image_id", "category_id", "score", shape}
    if not isinstance(records, Sequence):
        raise UserError(f"{where}: expected a list of result records with {', '.join(sorted(needed))}")
    try:
        images, categories, scores, *_ = (
            list(map(itemgetter(field), records))
            for field in ("image_id", "category_id", "score", *([] if shape == "bbox" else [shape]))
        )
        boxes = xywh_boxes(records, name) if shape == "bbox" else np.zeros((0, 4))
    except (KeyError, TypeError):
        index, record = next(
            (i, r) for i, r in enumerate(records) if not isinstance(r, dict) or not needed <= r.keys()
        )
        raise UserError(
            f"{name(index)} is {shown(record)}, expected the fields {', '.join(sorted(needed))}"
        ) from None
    check_known(images, set(image_ids), "image_id", name)
    check_known(categories, set(category_ids), "category_id", name)
    numbers = as_numbers(scores)
    for index in np.flatnonzero(~np.isfinite(numbers))[:1]:
        raise UserError(f"{name(index)}: score is {shown(scores[index])}, expected a finite number")
    return Columns(images, categories, numbers, boxes)


def object_areas(objects: Sequence[Record], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) the area that each checked annotation states, else that of its box (R, 4) x, y, width, height."""
    stated = [entry.get("area") for entry in objects]
    areas = np.array([np.nan if area is None else area for area in stated], dtype=np.float64)
    return np.where(np.isnan(areas), boxes[:, 2] * boxes[:, 3], areas)


def check_record_masks(
    records: Sequence[Record], sizes: Mapping[int | str, tuple[int, int]], where: str
) -> None:
    """Refuse records, checked by `check_records`, of whose masks one is missing or damaged.

    Args:
        sizes: (height, width) of the pictures by id.
    Raises:
        UserError: as `check_segmentations`.
    """
    check_segmentations(
        [record.get("segmentation") for record in records],
        [sizes[record["image_id"]] for record in records],
        lambda index: f"{where}: record {index}",
    )
