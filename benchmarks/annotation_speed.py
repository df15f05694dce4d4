"""What checking a COCO file's fields costs beside parsing its JSON, and opening a file of COCO's size."""

import json
import subprocess
import sys
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


def annotation_calls(objects: int = 50_000) -> Iterator[Pair]:
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


_OPEN = r"""
import re, sys, time
from pathlib import Path
import torch

def peak():  # getrusage would count the process that started this one
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

alone = peak()
from detection.data.coco_dataset import CocoDataset

before, start, used = peak(), time.perf_counter(), time.process_time()
dataset = CocoDataset(sys.argv[1], "pictures", masks=True)
print(f"{time.perf_counter() - start:.1f} s, {time.process_time() - used:.1f} s of them computing; "
      f"{peak():.0f} MB at most, {before:.0f} MB before, {alone:.0f} MB of torch alone")
"""


def opening_line(objects: int = 860_000, at_once: int = 20_000) -> str:
    """Time and memory of a fresh process that opens a file of train2017's size with masks.

    The polygons of `at_once` objects come again and again.
    """
    content = random_annotations(at_once)
    pictures = -(-objects // PER_PICTURE)
    image, template = content["images"][0], content["annotations"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "annotations.json")
        with path.open("w") as file:
            images = [{**image, "id": number} for number in range(1, pictures + 1)]
            file.write(f'{{"images": {json.dumps(images)}, "annotations": [')
            texts = [json.dumps(entry)[1:-1].partition(", ")[2].partition(", ")[2] for entry in template]
            for number in range(objects):
                file.write(", " if number else "")
                picture = number // PER_PICTURE + 1
                file.write(f'{{"id": {number + 1}, "image_id": {picture}, {texts[number % at_once]}}}')
            file.write(f'], "categories": {json.dumps(content["categories"])}}}')
        command = [sys.executable, "-c", _OPEN, str(path)]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        return f"Opening {objects} objects with masks, {path.stat().st_size / 1e6:.0f} MB: {found}"
