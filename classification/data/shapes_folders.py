"""Generates the Shapes classification set as files in ImageNet's layout: one folder per class and split."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pictures.shapes import CLASSES, draw_picture, generated_folder, random_placement, stamp_of

SIDE = 64  # pixels
PICTURES_PER_CLASS = {"train": 160, "val": 40}
SEED = 0


def ensure_shapes(root: Path, classes: Sequence[str] = CLASSES) -> Path:
    """The folder with train/ and val/, made at root/imagenet unless it is there: 200 pictures a class."""
    write = partial(write_folders, classes=classes)
    return generated_folder(root / "imagenet", stamp_of(SEED, classes), write)


def write_folders(folder: Path, classes: Sequence[str]) -> None:
    """{train,val}/<class>/<number>.png below `folder`."""
    for split_number, (split, pictures) in enumerate(PICTURES_PER_CLASS.items()):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for number in range(pictures):
                image = draw_example([SEED, split_number, CLASSES.index(name), number], name)
                image.save(folder / split / name / f"{number:04d}.png", compress_level=1)


def draw_example(seed: list[int], name: str) -> Image.Image:
    """One shape of a class near the centre, turned, stretched, textured, often partly hidden."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(SIDE / 2, 3, 2)
    placement = random_placement(rng, x, y, rng.uniform(16, 27), [name])
    return Image.fromarray(draw_picture(rng, SIDE, SIDE, [placement])[0])
