"""Can a detector learn at all? A few pictures by heart: what cannot be overfitted has a mistake somewhere."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from detection.config import DetectionConfig
from detection.data.coco_checks import read_coco
from detection.data.coco_dataset import CocoSplit
from detection.data.dataset_splits import locate_splits
from detection.train import finetune
from foundation.atomic_files import write_json
from foundation.errors import UserError

MOST_OBJECTS, LEAST_SIDE = 4, 32  # COCO calls objects below 32 x 32 pixels small


def overfit(
    config: DetectionConfig, pictures: int, out: Path, *, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Trains on the first suitable pictures of `data.train` and scores on the same.

    Suitable are pictures with one to four objects, none of them small or a crowd.

    Args:
        config: of a COCO set.
        pictures: how many.
        out: run folder; the annotations of the pictures lie beside it, in `<out>_data`.
    Returns:
        As `detection.train.finetune`.
    Raises:
        UserError: the set is no COCO set or has too few such pictures.
    """
    data = config.data
    located = locate_splits(data, data.train) if data.kind == "coco" else []
    if len(located) != 1 or not isinstance(located[0], CocoSplit):
        raise UserError(
            "only one split of a COCO set can be overfitted so, got "
            f"data.kind={data.kind} data.train={data.train}"
        )
    file, folder_of_pictures = located[0]
    content = read_coco(file)
    chosen = choose(content, pictures)
    folder = out.with_name(f"{out.name}_data")
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for image in chosen["images"]:
        image["file_name"] = str((folder_of_pictures / image["file_name"]).absolute())
    split = f"overfit{pictures}"  # another number of pictures leaves what a run before was trained on
    write_json(folder / "annotations" / f"instances_{split}.json", chosen)
    data = replace(data, root=str(folder), train=split, val=split)
    return finetune(replace(config, data=data), out, resume=resume, overwrite=overwrite)


def choose(content: dict[str, Any], pictures: int) -> dict[str, Any]:
    """The COCO annotations of the first suitable pictures alone."""
    objects = defaultdict(list)
    for annotation in content["annotations"]:
        objects[annotation["image_id"]].append(annotation)
    images = [image for image in content["images"] if _is_suitable(objects[image["id"]])][:pictures]
    if len(images) < pictures:
        raise UserError(
            f"{pictures} pictures were asked for, only {len(images)} have 1 to {MOST_OBJECTS} objects, none "
            f"below {LEAST_SIDE}x{LEAST_SIDE} pixels: ask for fewer with --pictures"
        )
    kept = [annotation for image in images for annotation in objects[image["id"]]]
    return {"images": images, "annotations": kept, "categories": content["categories"]}


def _is_suitable(objects: list[dict[str, Any]]) -> bool:
    return 0 < len(objects) <= MOST_OBJECTS and not any(
        entry.get("iscrowd", 0) or entry["area"] < LEAST_SIDE**2 for entry in objects
    )
