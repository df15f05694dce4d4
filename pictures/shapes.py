"""Shapes: generated pictures of ten kinds of coloured shapes on textured grounds.

Drawn for the classification set and the detection set alike. Everything comes from the given generator, so a
seed fixes every pixel.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

logger = logging.getLogger(__name__)

VERSION = 2  # raise it with every change of what is drawn: sets on disk carry it in their stamp
SUPERSAMPLING = 3  # mask cells per pixel and side, for smooth edges

FloatArray = NDArray[np.floating]
Surface = Callable[[int, int], FloatArray]


@dataclass(frozen=True)
class Placement:
    """One shape to draw: class index, centre x, y and radius in pixels, angle in radians, height / width."""

    label: int
    x: float
    y: float
    radius: float
    angle: float
    aspect: float


def circle(radius: float, x: float = 0.0) -> FloatArray:
    """(48, 2) corners of a circle around (x, 0)."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.stack([x + radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def heart() -> FloatArray:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y - 2.5], axis=1) / 17


def star() -> FloatArray:
    radii = np.where(np.arange(10) % 2, 0.42, 1.0)
    angles = np.arange(10) * np.pi / 5
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


# Corners (P, 2) of each shape in the unit circle; a second outline is cut out of the first.
OUTLINES: dict[str, list] = {
    "arrow": [[(-0.9, -0.25), (0.1, -0.25), (0.1, -0.7), (1, 0), (0.1, 0.7), (0.1, 0.25), (-0.9, 0.25)]],
    "bar": [[(-1, -0.3), (1, -0.3), (1, 0.3), (-1, 0.3)]],
    "crescent": [circle(0.95), circle(0.8, x=0.45)],
    "cross": [
        [
            *[(-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3)],
            *[(0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3)],
        ]
    ],
    "disc": [circle(0.85)],
    "heart": [heart()],
    "ring": [circle(0.95), circle(0.55)],
    "square": [[(-0.75, -0.75), (0.75, -0.75), (0.75, 0.75), (-0.75, 0.75)]],
    "star": [star()],
    "triangle": [[(0, -1), (0.87, 0.5), (-0.87, 0.5)]],
}
CLASSES = list(OUTLINES)
FEW_CLASSES = ["cross", "disc", "heart", "ring", "star"]  # told apart after a minute of training


def coverage(placement: Placement, height: int, width: int) -> FloatArray:
    """(H, W) share of each pixel that the shape covers, 0 … 1."""
    scale = SUPERSAMPLING
    canvas = Image.new("L", (width * scale, height * scale))
    cos, sin = np.cos(placement.angle), np.sin(placement.angle)
    turn = np.array([[cos, sin], [-sin, cos]]) * placement.radius * scale
    for fill, corners in zip((255, 0), OUTLINES[CLASSES[placement.label]], strict=False):
        stretched = np.array(corners) * (1, placement.aspect)
        points = stretched @ turn + np.array([placement.x, placement.y]) * scale
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in points], fill=fill)
    return np.asarray(canvas.reduce(scale), dtype=np.float32) / 255


def smooth_noise(rng: Generator, height: int, width: int, cells: int) -> FloatArray:
    """(H, W, 3) noise in 0 … 255 that changes over about a `cells`-th of the picture."""
    grid = rng.integers(0, 256, (cells + 1, cells + 1, 3), dtype=np.uint8)
    image = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def texture(rng: Generator, colour: FloatArray, height: int, width: int) -> FloatArray:
    """(H, W, 3) surface around a colour (3,): blotches, and often stripes or a checkerboard."""
    blotches = smooth_noise(rng, height, width, int(rng.integers(2, 12))) - 128
    surface = colour + blotches * rng.uniform(0.05, 0.3)
    pattern = rng.integers(3)
    if pattern == 2:
        return surface
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 20)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    if pattern == 1:
        wave *= np.sin((y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / period)
    return surface + np.sign(wave)[..., None] * rng.normal(0, 12, 3)


def random_colour(rng: Generator, low: float = 20, high: float = 236) -> FloatArray:
    """(3,) colour with its channels in a range of grey levels."""
    return rng.uniform(low, high, 3).astype(np.float32)


def blend(image: FloatArray, cover: FloatArray, surface: FloatArray | Surface) -> None:
    """Paints a colour (3,), or what `surface` gives of a height and a width, where `cover` (H, W) is above 0.

    It changes `image` (H, W, 3) in place.
    """
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    if len(rows):
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        part = image[window]
        painted = surface(*part.shape[:2]) if callable(surface) else surface
        part += cover[window][..., None] * (painted - part)


def scatter_clutter(rng: Generator, image: FloatArray, pieces: int) -> FloatArray:
    """Paints irregular polygons and lines, shapes of no class, and returns where they cover (H, W)."""
    height, width = image.shape[:2]
    covered = np.zeros((height, width), dtype=np.float32)
    for _ in range(pieces):
        canvas = Image.new("L", (width, height))
        draw = ImageDraw.Draw(canvas)
        centre, size = rng.uniform(0, (width, height)), rng.uniform(3, 0.14 * min(height, width) + 4)
        if rng.random() < 0.4:
            end = centre + rng.normal(0, 3 * size, 2)
            draw.line([*centre, *end], fill=255, width=int(rng.integers(1, 4)))
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 8))))
            radii = size * rng.uniform(0.3, 1.0, len(angles))
            points = centre + np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
            draw.polygon([tuple(point) for point in points], fill=255)
        cover = np.asarray(canvas, dtype=np.float32) / 255
        blend(image, cover, random_colour(rng))
        covered = np.maximum(covered, cover)
    return covered


def draw_picture(
    rng: Generator, height: int, width: int, placements: list[Placement]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Draws shapes in order, later ones over earlier ones, then clutter over everything, then noise.

    Returns:
        The picture (H, W, 3) uint8; of each shape the pixels (R, H, W) bool and those that stayed visible.
    """
    image = texture(rng, random_colour(rng, 10, 120), height, width)
    scatter_clutter(rng, image, int(rng.integers(2, 6)))
    whole = np.zeros((len(placements), height, width), dtype=bool)
    visible = np.zeros_like(whole)
    for i, placement in enumerate(placements):
        cover = coverage(placement, height, width)
        blend(image, cover, partial(texture, rng, random_colour(rng, 110, 245)))
        whole[i] = visible[i] = cover >= 0.5
        visible[:i] &= ~whole[i]
    visible &= scatter_clutter(rng, image, int(rng.integers(0, 3))) < 0.5
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(2, 12)
    image = (image - 128) * rng.uniform(0.6, 1.1) + 128 + noise
    return np.clip(image, 0, 255).astype(np.uint8), whole, visible


def random_placement(
    rng: Generator, x: float, y: float, radius: float, classes: Sequence[str] = CLASSES
) -> Placement:
    """A shape of one of these classes, somewhat stretched, and turned as things in photographs are."""
    chosen = classes[int(rng.integers(len(classes)))] if len(classes) > 1 else classes[0]
    label = CLASSES.index(chosen)
    return Placement(label, x, y, radius, float(rng.normal(0, 0.35)), rng.uniform(0.8, 1.0))


def random_placements(rng: Generator, height: int, width: int, classes: Sequence[str]) -> list[Placement]:
    """One to six shapes; two of them may overlap, centres never coincide."""
    placements: list[Placement] = []
    wanted = int(rng.integers(1, 7))
    for _ in range(5 * wanted):
        radius = rng.uniform(14, 40)
        x, y = rng.uniform(0.7 * radius, np.array([width, height]) - 0.7 * radius)
        if all(np.hypot(x - p.x, y - p.y) > 0.45 * (radius + p.radius) for p in placements):
            placements.append(random_placement(rng, x, y, radius, classes))
        if len(placements) == wanted:
            break
    return placements


def stamp_of(seed: int, classes: Sequence[str]) -> dict[str, int]:
    """What fixes a generated set, for `generated_folder`."""
    fewer = {} if classes == CLASSES else {"classes": len(classes)}
    return {"version": VERSION, "seed": seed} | fewer


def generated_folder(folder: Path, stamp: Mapping[str, int], write: Callable[[Path], None]) -> Path:
    """The folder with a generated set, written now unless it is there already.

    A folder that another version or seed filled, or that is not ours, is left alone: the set then goes to a
    folder beside it, named by the stamp. It appears whole or not at all, whatever is killed.

    Args:
        stamp: what fixes the set's content: version, seed, counts.
        write: fills the empty folder it is given.
    """
    wanted = json.dumps(dict(sorted(stamp.items())))
    if folder.exists() and read_stamp(folder) != wanted:
        folder = folder.with_name("-".join([folder.name, *(f"{key}{value}" for key, value in stamp.items())]))
    if folder.exists():
        return folder
    logger.info("generating Shapes in %s", folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        filling = Path(temporary) / folder.name
        filling.mkdir()
        write(filling)
        (filling / "stamp.json").write_text(wanted)
        try:
            filling.rename(folder)
        except OSError:
            if read_stamp(folder) != wanted:  # else another process of the same run was faster
                raise
    return folder


def read_stamp(folder: Path) -> str | None:
    stamp = folder / "stamp.json"
    return stamp.read_text(errors="replace") if stamp.is_file() else None
