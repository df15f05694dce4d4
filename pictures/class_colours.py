"""Colours of classes that the eye tells apart, also where there are eighty."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
GREY: Colour = (128, 128, 128)  # what is ignored, and no class
BLACK_AND_WHITE: tuple[Colour, Colour] = ((0, 0, 0), (255, 255, 255))
# After so many classes colours come again. Of the first 80 no two are nearer than 20 in CIELAB, of all 14.
NUMBER = 128
STEPS = 16  # of red, green and blue, in the colours chosen from


def class_colour(label: int) -> Colour:
    """Red, green and blue of a class, 0 to 255; always the same for a label 1, 2, …"""
    return _palette()[(label - 1) % NUMBER]


def text_colour(ground: Colour) -> str:
    """The colour of text on a ground of this colour: black or white."""
    lightness = cielab(np.array([ground], dtype=float))[0, 0]
    return "black" if lightness > 60 else "white"


@cache
def _palette() -> list[Colour]:
    """Each colour is the one farthest from those before it, and from black, white and grey."""
    axis = np.linspace(0, 255, STEPS).round()
    colours = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    places = cielab(colours)
    lightness, chroma = places[:, 0], np.hypot(places[:, 1], places[:, 2])
    strong = (lightness > 30) & (lightness < 92) & (chroma > 25)
    colours, places = colours[strong], places[strong]
    taken = cielab(np.array([*BLACK_AND_WHITE, GREY], dtype=float))
    distances = np.linalg.norm(places[:, None] - taken, axis=-1).min(axis=1)
    palette: list[Colour] = []
    for _ in range(NUMBER):
        farthest = int(distances.argmax())
        red, green, blue = (int(value) for value in colours[farthest])
        palette.append((red, green, blue))
        distances = np.minimum(distances, np.linalg.norm(places - places[farthest], axis=1))
    return palette


def cielab(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lightness, a* and b* (N, 3) of sRGB colours (N, 3) from 0 to 255 under D65 (IEC 61966-2-1, CIE 15)."""
    values = colours / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    xyz = linear @ np.array(to_xyz).T / np.array([0.95047, 1.0, 1.08883])
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
