"""Generates Shapes for segmentation: scenes of several shapes, in the layout of VOC's devkit."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foundation.errors import UserError, suggest
from pictures.annotations.voc_classes import CLASSES_FILE
from pictures.shapes import CLASSES, draw_picture, generated_folder, random_placements, stamp_of
from segmentation.data.label_maps import Labels, write_label_map
from segmentation.data.mask_dataset import MaskDataset
from segmentation.data.voc_segmentation import open_voc
from segmentation.types import IGNORED

SPLITS = {"train": 200, "val": 100}
YEAR = "2012"  # of the devkit whose layout it is
SEED = 0
SEEN_ENOUGH = 0.25  # of a shape; of one that is hidden further nobody could say what it is


class LabelledScene(NamedTuple):
    """One picture (H, W, 3) uint8, and its label map: 0 is the background, shapes are 1…10 by name."""

    name: str
    split: str
    image: NDArray[np.uint8]
    labels: Labels


def draw_labelled_scene(number: int, split: str) -> LabelledScene:
    """112 to 176 pixels a side, 1 to 6 shapes that may overlap; every 25th picture has none.

    What is left of a shape that is mostly hidden is ignored. Each scene has its own generator, so one can be
    drawn again alone.
    """
    rng = np.random.default_rng([SEED, number])
    height, width = (int(side) for side in rng.integers(112, 177, 2))
    placements = [] if number % 25 == 0 else random_placements(rng, height, width, CLASSES)
    image, whole, visible = draw_picture(rng, height, width, placements)
    labels = np.zeros((height, width), dtype=np.uint8)
    for placement, all_of_it, seen in zip(placements, whole, visible, strict=True):
        enough = seen.sum() >= SEEN_ENOUGH * all_of_it.sum()
        labels[seen] = placement.label + 1 if enough else IGNORED
    return LabelledScene(f"{number:06d}", split, image, labels)


def write_labelled_scenes(folder: Path) -> None:
    """VOC2012/{ImageSets/Segmentation,JPEGImages,SegmentationClass} and classes.txt."""
    year = folder / f"VOC{YEAR}"
    for name in ("ImageSets/Segmentation", "JPEGImages"):
        (year / name).mkdir(parents=True)
    splits = [split for split, pictures in SPLITS.items() for _ in range(pictures)]
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    for number, split in enumerate(splits, start=1):
        scene = draw_labelled_scene(number, split)
        Image.fromarray(scene.image).save(year / "JPEGImages" / f"{scene.name}.jpg", quality=90)
        write_label_map(year / "SegmentationClass" / f"{scene.name}.png", scene.labels)
        names[split].append(scene.name)
    for split, listed in {**names, "trainval": sum(names.values(), [])}.items():
        (year / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(listed) + "\n")
    (year / CLASSES_FILE).write_text("\n".join(CLASSES) + "\n")


def open_shapes(root: Path, split: str) -> MaskDataset:
    """A split, "train", "val" or "trainval"; the set is written below `root` unless it is there."""
    if split not in (*SPLITS, "trainval"):
        raise UserError(f"Shapes has no split {split!r}{suggest(split, [*SPLITS, 'trainval'])}")
    devkit = generated_folder(root / "VOCdevkit", stamp_of(SEED, CLASSES), write_labelled_scenes)
    return open_voc(devkit, f"{YEAR}:{split}")
