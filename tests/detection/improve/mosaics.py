"""Writes a COCO set of large pictures, each of N x N pictures of another set's split; boxes alone.

python tests/detection/improve/mosaics.py PennFudanPed val mosaics --across 3
python tools/eval_det.py --weights FILE data.root=mosaics data.val=val --tiles 400
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from detection.data.annotation_writers import coco_annotation, coco_content, coco_image
from detection.data.dataset_splits import DataConfig, open_dataset
from pictures.decoding import load_image


def write_mosaics(root: Path, split: str, out: Path, across: int) -> None:
    """Pictures in the set's order, row by row, in cells as large as the largest; what is free stays black."""
    dataset = open_dataset(DataConfig(kind="coco", root=str(root), val=split), split)
    height, width = (max(size[axis] for size in dataset.image_sizes) for axis in (0, 1))
    (out / "annotations").mkdir(parents=True)
    (out / "val").mkdir()
    images, annotations = [], []
    for first in range(0, len(dataset), across**2):
        canvas = np.zeros((across * height, across * width, 3), dtype=np.uint8)
        number = len(images) + 1
        for place, index in enumerate(range(first, min(first + across**2, len(dataset)))):
            pixels, target = load_image(dataset.image_path(index)), dataset.load_target(index)
            top, left = place // across * height, place % across * width
            canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
            corners = target.boxes.double() + target.boxes.new_tensor([left, top, left, top])
            for box, label, ignore in zip(
                corners.tolist(), target.labels.tolist(), target.ignore, strict=True
            ):
                category = dataset.category_ids[label - 1]
                annotations.append(
                    coco_annotation(len(annotations) + 1, number, category, box, crowd=bool(ignore))
                )
        images.append(coco_image(number, f"{number}.png", canvas.shape[:2]))
        Image.fromarray(canvas).save(out / "val" / f"{number}.png")
    content = coco_content(images, dataset.classes, dataset.category_ids, annotations)
    (out / "annotations" / "instances_val.json").write_text(json.dumps(content))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="of a COCO set")
    parser.add_argument("split")
    parser.add_argument("out", type=Path)
    parser.add_argument("--across", type=int, default=3)
    given = parser.parse_args()
    write_mosaics(given.root, given.split, given.out, given.across)
