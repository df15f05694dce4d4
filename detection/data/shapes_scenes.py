"""Generates the Shapes detection set as files, in COCO's and in the VOC devkit's layout."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from detection.data.annotation_writers import coco_annotation, coco_content, coco_image, voc_annotation
from foundation.errors import UserError, suggest
from pictures.shapes import (
    CLASSES,
    draw_picture,
    generated_folder,
    random_placements,
    stamp_of,
)

SPLITS = {"train": 200, "val": 100}
SEED = 0
# As in COCO itself, the ids have a gap: whatever reads them must map them.
CATEGORY_IDS = [1, 2, 3, 4, 5, 6, 8, 9, 10, 11]


@dataclass(frozen=True)
class Shape:
    """A drawn object."""

    label: int  # index into CLASSES
    mask: NDArray[np.bool_]  # (H, W), its visible part, not empty
    difficult: bool  # less than half of it is visible

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 in pixels around the visible part, top-left origin, no +1."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


class Scene(NamedTuple):
    """One picture (H, W, 3) uint8 and the objects in it, perhaps none."""

    name: str
    split: str
    image: NDArray[np.uint8]
    shapes: list[Shape]


class ShapesFolders(NamedTuple):
    """Where the set lies: `coco` as COCO's root folder, `voc` as VOCdevkit."""

    coco: Path
    voc: Path


def ensure_shapes(root: Path, classes: Sequence[str] = CLASSES) -> ShapesFolders:
    """Writes the set below `root` unless it is there: root/coco and root/VOCdevkit, a few seconds.

    Args:
        classes: of the shapes that are drawn.
    """
    voc = generated_folder(root / "VOCdevkit", stamp_of(SEED, classes), partial(write_voc, classes=classes))
    return ShapesFolders(ensure_coco(root, classes), voc)


def ensure_coco(root: Path, classes: Sequence[str]) -> Path:
    """The part of `ensure_shapes` in COCO's layout."""
    return generated_folder(root / "coco", stamp_of(SEED, classes), partial(write_coco, classes=classes))


def shapes_of_split(root: Path, split: str, classes: Sequence[str]) -> Path:
    """COCO's root folder of the set, written if need be; a UserError if a part of "train+val" is none."""
    for unknown in set(split.split("+")) - set(SPLITS):
        raise UserError(f"Shapes has no split {unknown!r}{suggest(unknown, SPLITS)}")
    return ensure_coco(root, classes)


def draw_scenes(classes: Sequence[str]) -> list[Scene]:
    """All scenes in order; each has its own generator, so one can be drawn again alone."""
    splits = [split for split, pictures in SPLITS.items() for _ in range(pictures)]
    return [draw_scene(index + 1, split, classes) for index, split in enumerate(splits)]


def draw_scene(number: int, split: str, classes: Sequence[str] = CLASSES) -> Scene:
    """160 to 224 pixels a side, 1 to 6 shapes that may overlap; every 25th picture has none."""
    rng = np.random.default_rng([SEED, number])
    height, width = (int(side) for side in rng.integers(160, 225, 2))
    placements = [] if number % 25 == 0 else random_placements(rng, height, width, classes)
    image, whole, visible = draw_picture(rng, height, width, placements)
    shapes = []
    for placement, all_of_it, mask in zip(placements, whole, visible, strict=True):
        share = mask.sum() / max(1, all_of_it.sum())
        if share >= 0.25:  # what is hidden further is not annotated: nobody could name it
            shapes.append(Shape(placement.label, mask, difficult=bool(share < 0.5)))
    return Scene(f"{number:06d}", split, image, shapes)


def write_coco(folder: Path, classes: Sequence[str]) -> None:
    """annotations/instances_{train,val}.json and the pictures in train/ and val/."""
    (folder / "annotations").mkdir()
    scenes = draw_scenes(classes)
    for split in SPLITS:
        (folder / split).mkdir()
        chosen = [scene for scene in scenes if scene.split == split]
        for scene in chosen:
            save_picture(scene, folder / split)
        content = json.dumps(coco_annotations(chosen, classes))
        (folder / "annotations" / f"instances_{split}.json").write_text(content)


def coco_annotations(scenes: list[Scene], classes: Sequence[str] = CLASSES) -> dict[str, object]:
    """The scenes as one COCO "instances" dictionary; masks as compressed RLE, since a ring is no polygon."""
    images = [coco_image(int(s.name), f"{s.name}.jpg", (s.image.shape[0], s.image.shape[1])) for s in scenes]
    annotations: list[dict[str, object]] = []
    for scene in scenes:
        for shape in scene.shapes:
            encoded = coco_mask.encode(np.asfortranarray(shape.mask, dtype=np.uint8))
            run_length = {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}
            masked: dict[str, Any] = {
                "area": int(shape.mask.sum()),
                "segmentation": run_length,
                "crowd": False,
            }
            owner = (len(annotations) + 1, int(scene.name), CATEGORY_IDS[shape.label])
            annotations.append(coco_annotation(*owner, shape.box, **masked))
    ids = [CATEGORY_IDS[CLASSES.index(name)] for name in classes]
    content = coco_content(images, classes, ids, annotations)
    return {"info": {"description": "Shapes, generated"}, **content}


def write_voc(folder: Path, classes: Sequence[str]) -> None:
    """VOC2007/{Annotations,ImageSets/Main,JPEGImages,SegmentationObject} with splits train, val, trainval."""
    year = folder / "VOC2007"
    for name in ("Annotations", "ImageSets/Main", "JPEGImages", "SegmentationObject"):
        (year / name).mkdir(parents=True)
    scenes = draw_scenes(classes)
    for scene in scenes:
        save_picture(scene, year / "JPEGImages")
        height, width, channels = scene.image.shape
        objects = [(CLASSES[shape.label], shape.box, shape.difficult) for shape in scene.shapes]
        annotation = voc_annotation(year.name, f"{scene.name}.jpg", (height, width, channels), objects)
        annotation.write(year / "Annotations" / f"{scene.name}.xml")
        # Object numbers 1 … R in the order of the XML, 0 elsewhere; visible parts never overlap.
        numbers = np.zeros((height, width), dtype=np.uint8)
        for number, shape in enumerate(scene.shapes, start=1):
            numbers[shape.mask] = number
        Image.fromarray(numbers).save(year / "SegmentationObject" / f"{scene.name}.png")
    for split, members in {**{name: [name] for name in SPLITS}, "trainval": list(SPLITS)}.items():
        names = [scene.name for scene in scenes if scene.split in members]
        (year / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")


def save_picture(scene: Scene, folder: Path) -> None:
    Image.fromarray(scene.image).save(folder / f"{scene.name}.jpg", quality=90)
