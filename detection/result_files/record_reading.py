"""The records of a result file, by the ids of the set they are scored on."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detection.data.annotations import DetectionDataset
from detection.data.coco_dataset import CocoDataset
from detection.results.result_records import with_boxes
from foundation.errors import UserError
from pictures.annotations.coco_checks import read_json


def read_records(path: str, dataset: DetectionDataset, folders: Sequence[Path]) -> Any:
    """The records of a file, not checked yet; those that have masks alone get the boxes around these.

    Args:
        path: JSON list of {image_id, category_id, bbox xywh, score}, and segmentation where there are masks,
            with the data set's ids; of VOC's devkit image_id is the picture's name ("000012") and category_id
            1…20 in alphabetical order of the classes. Or what `predict_pictures` writes, with ids of its own:
            its `images` are then looked up by file name.
        folders: the file names are relative to one of them.
    Raises:
        UserError: the file is missing or damaged, or is of other pictures or classes.
    """
    content = read_json(path)
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        _check_categories(content.get("categories"), dataset, path)
        content = _with_ids(content, _names(dataset, folders), path)
    return with_boxes(content, dict(zip(dataset.image_ids, dataset.image_sizes, strict=True)), path)


def _check_categories(categories: Any, dataset: DetectionDataset, path: str) -> None:
    """Refuses a file that lists its classes and has another one under an id of the data set."""
    own = dict(zip(dataset.category_ids, dataset.classes, strict=True))
    for entry in categories if isinstance(categories, list) else []:
        number, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if isinstance(number, int) and own.get(number, name) != name:
            raise UserError(
                f"{path}: category {number} is {name!r} there, and {own[number]!r} in the data set; give "
                "predictions with the ids and names of the data set's classes"
            )


def _names(dataset: DetectionDataset, folders: Sequence[Path]) -> dict[str, int | str]:
    """The pictures' ids by their names in the annotations and by their files' in the folders."""
    names: dict[str, int | str] = {}
    if isinstance(dataset, CocoDataset):
        names |= {image["file_name"]: image["id"] for image in dataset.truth()["images"]}
    files = [dataset.image_path(index) for index in range(len(dataset))]
    for folder in folders:
        names |= {os.path.relpath(file, folder): i for file, i in zip(files, dataset.image_ids, strict=True)}
    return names


def _with_ids(content: Mapping[str, Any], image_ids: Mapping[str, int | str], path: str) -> list[Any]:
    """The records of a file that lists its own `images`, with the ids that these have here."""
    records, images = content["annotations"], content.get("images", [])
    try:
        names = {image["id"]: image["file_name"] for image in images}
        unknown = [name for name in names.values() if name not in image_ids]
    except (KeyError, TypeError):
        raise UserError(f"{path}: images must be a list of entries with id and file_name") from None
    if unknown:
        raise UserError(
            f"{path}: picture {unknown[0]!r} is not in the data set, nor are {len(unknown) - 1} others; "
            "predict on the set's own folder of pictures"
        )
    own = {number: image_ids[name] for number, name in names.items()}
    return [
        {**record, "image_id": own.get(record["image_id"])}
        if own and isinstance(record, dict) and isinstance(record.get("image_id"), int | str)
        else record
        for record in records
    ]
