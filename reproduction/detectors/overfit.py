"""Can a detector learn at all? A few pictures by heart: what cannot be overfitted has a mistake somewhere."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from detection.config import DetectionConfig
from detection.data.dataset_splits import open_dataset
from detection.results.metrics_by_name import coco_annotations
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
        config: of a set of any kind; difficult objects count as crowds.
        pictures: how many.
        out: run folder; the annotations of the pictures lie beside it, in `<out>_data`.
    Returns:
        As `detection.train.finetune`.
    Raises:
        UserError: the set is not as needed, or has too few such pictures.
    """
    dataset = open_dataset(config.data, config.data.train, masks=config.detector.mask)
    content = coco_annotations(dataset)
    for index, image in enumerate(content["images"]):
        image["file_name"] = str(dataset.image_path(index).absolute())
    chosen = choose(content, pictures)
    folder = out.with_name(f"{out.name}_data")
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    split = f"overfit{pictures}"  # another number of pictures leaves what a run before was trained on
    write_json(folder / "annotations" / f"instances_{split}.json", chosen)
    data = replace(config.data, difficult="leave_out", pictures=None, classes=None)
    data = replace(data, kind="coco", root=str(folder), train=split, val=split)
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
        entry.get("iscrowd", 0) or _area(entry) < LEAST_SIDE**2 for entry in objects
    )


def _area(entry: dict[str, Any]) -> float:
    """As stated, or of the box where nothing is."""
    width, height = entry["bbox"][2:]
    return float(entry.get("area", width * height))
