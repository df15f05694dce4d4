"""What checking every field of a COCO file costs, beside the parsing of its JSON."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.backbone_speed import Pair
from pictures.annotations.coco_checks import check_coco, plain_numbers, read_json
from pictures.annotations.coco_masks import segmentation_problems

HEIGHT, WIDTH = 480, 640
PER_PICTURE = 7  # objects, as in COCO
CORNERS = 24  # of an object's polygon


def annotation_calls(objects: int = 200_000) -> Iterator[Pair]:
    """All checks of fields and segmentations of a generated file against reading it."""
    content = random_annotations(objects)
    segmentations = [entry["segmentation"] for entry in content["annotations"]]
    sizes = [(HEIGHT, WIDTH)] * objects

    def check() -> None:
        check_coco(plain_numbers(content), "annotations.json")
        assert not segmentation_problems(segmentations, sizes)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "annotations.json")
        file.write_text(json.dumps(content))
        yield (
            f"checks of a COCO file (peer: parsing its JSON), {objects} objects",
            check,
            lambda: read_json(file),
        )


def random_annotations(objects: int) -> dict[str, Any]:
    """Seeded objects with boxes and polygons of two digits behind the point, as COCO's files have them."""
    rng = np.random.default_rng(0)
    corners = (rng.random((objects, CORNERS, 2)) * (WIDTH, HEIGHT)).round(2)
    low, high = corners.min(1), corners.max(1)
    boxes = np.concatenate([low, (high - low).round(2)], axis=1)
    pictures = -(-objects // PER_PICTURE)
    return {
        "images": [
            {"id": number, "file_name": f"{number:012}.jpg", "height": HEIGHT, "width": WIDTH}
            for number in range(1, pictures + 1)
        ],
        "annotations": [
            {
                "id": number + 1,
                "image_id": number // PER_PICTURE + 1,
                "category_id": number % 80 + 1,
                "bbox": box,
                "area": round(box[2] * box[3], 2),
                "iscrowd": 0,
                "segmentation": [polygon],
            }
            for number, (box, polygon) in enumerate(
                zip(boxes.tolist(), corners.reshape(objects, -1).tolist(), strict=True)
            )
        ],
        "categories": [{"id": number, "name": f"class {number}"} for number in range(1, 81)],
    }
