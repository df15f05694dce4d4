"""How a trained detector looks at a picture to answer better: tiles, mirrored and resized copies, merging.

Imports nothing slow, since the command lines need it to say what they take.
"""

import argparse
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from foundation.errors import UserError, suggest

OVERLAP = 0.2  # SAHI's (Akyon et al. 2022)
SCALES = (0.75, 1.0, 1.25)  # of the configured short side
MERGES = ("nms", "wbf")
MIN_TILE = 32  # pixels; the stride of conv5


class Augmentations(NamedTuple):
    """Which copies of a picture are looked at: mirrored ones, too, and other short sides.

    short_sides () are those of `SCALES`; None is the configured one.
    """

    flip: bool = False
    short_sides: tuple[int, ...] | None = None


@dataclass(frozen=True)
class ImproveOptions:
    """How often and at what a detector looks before it answers; without anything once at the whole picture.

    Attributes:
        tiles: side, in pixels of the file, of square tiles that the picture is cut into; each is looked at as
            a picture of its own, besides the whole.
        overlap: least share of a tile's side that neighbours have in common; with tiles 0.2 unless given.
        tta: test-time augmentation, words joined by commas: "flip" (mirrored, too), "scales" (0.75, 1 and
            1.25 times the configured short side) or "scales=400:600:800" (these short sides, in pixels).
        merge: how the boxes of several looks become one answer: "nms" (the best of a class goes on) or "wbf"
            (weighted boxes fusion); with tiles or tta "nms" unless given.
    """

    tiles: int | None = None
    overlap: float | None = None
    tta: str | None = None
    merge: str | None = None

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UserError: a value that cannot be meant, or one that would have no effect.
        """
        if self.tiles is not None and (not _is_number(self.tiles, int) or self.tiles < MIN_TILE):
            raise UserError(
                f"tiles must be a side of {MIN_TILE} pixels or more, such as 800, got {self.tiles!r}"
            )
        if self.overlap is not None:
            if self.tiles is None:
                raise UserError(
                    "overlap is of tiles: say how large they are, such as tiles 800, or leave it out"
                )
            if not _is_number(self.overlap, int | float) or not 0 <= self.overlap < 1:
                raise UserError(
                    f"overlap must be a share of a tile's side from 0 to below 1, such as {OVERLAP}, "
                    f"got {self.overlap!r}"
                )
        if self.merge is not None:
            if not self.anything:
                raise UserError(
                    "merge joins several looks at a picture, and there is only one: give tiles or tta, or "
                    "leave it out"
                )
            if self.merge not in MERGES:
                raise UserError(f"merge must be {' or '.join(MERGES)}, got {self.merge!r}")
        self.augmentations  # noqa: B018 - it refuses what cannot be read

    @property
    def anything(self) -> bool:
        """Whether a picture is looked at more than once."""
        return self.tiles is not None or self.tta is not None

    @property
    def augmentations(self) -> Augmentations:
        """`tta`, read.

        Raises:
            UserError: a word is unknown or repeated, or short sides are no list of different ones.
        """
        if self.tta is None:
            return Augmentations()
        if not isinstance(self.tta, str):
            raise UserError(f"tta must be text such as 'flip,scales', got {self.tta!r}")
        words = [word.strip() for word in self.tta.split(",")]
        names = [word.partition("=")[0] for word in words]
        for word, name in zip(words, names, strict=True):
            if word != "flip" and name != "scales":
                close = suggest(name, ["flip", "scales"])
                raise UserError(
                    "tta must be flip, scales or scales=400:600:800, or two of them joined by a comma; "
                    f"unknown {word!r}{close}"
                )
        if len(set(names)) < len(names):
            raise UserError(f"tta names {max(names, key=names.count)} twice, got {self.tta!r}; leave one out")
        sides = [_short_sides(word) for word in words if word != "flip"]
        return Augmentations("flip" in words, sides[0] if sides else None)

    def given(self) -> dict[str, Any]:
        """What is asked for, defaults filled in, for result files; empty without anything."""
        if not self.anything:
            return {}
        overlap = {} if self.tiles is None else {"overlap": OVERLAP if self.overlap is None else self.overlap}
        filled = asdict(self) | overlap | {"merge": self.merge or MERGES[0]}
        return {name: value for name, value in filled.items() if value is not None}


ONE_LOOK = ImproveOptions()


def _is_number(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _short_sides(word: str) -> tuple[int, ...]:
    """What "scales" (nothing) or "scales=400:600" names."""
    text = word.partition("=")[2]
    if word == "scales":
        return ()
    sides = tuple(int(side) if re.fullmatch("[0-9]{1,6}", side) else 0 for side in text.split(":"))
    if min(sides) < 1 or len(set(sides)) < len(sides):
        raise UserError(f"{word}: expected different short sides in pixels, as scales=400:600:800")
    if len(sides) == 1:
        raise UserError(
            f"{word}: one scale is no augmentation; for a single one change the configuration, "
            f"data.short_side={text}"
        )
    return sides


def add_improve_options(parser: argparse.ArgumentParser) -> None:
    """Gives a command the options of `ImproveOptions`; `take_improve_options` reads them."""
    add = parser.add_argument_group("better answers, slower (docs/better_answers.md)").add_argument
    text = "cut large pictures into tiles of SIDE x SIDE pixels, and look at each and at the whole"
    add("--tiles", type=int, metavar="SIDE", help=text)
    text = f"least share of a tile's side that neighbours have in common (default: {OVERLAP})"
    add("--overlap", type=float, metavar="SHARE", help=text)
    text = "look at mirrored and resized copies, too: flip, scales, or scales=400:600:800 (short sides)"
    add("--tta", metavar="flip,scales", help=text)
    text = f"how their boxes are joined: suppression, or weighted boxes fusion (default: {MERGES[0]})"
    add("--merge", choices=MERGES, help=text)


def take_improve_options(given: dict[str, Any]) -> ImproveOptions:
    """Takes what `add_improve_options` added out of a command's arguments, as far as it is there."""
    return ImproveOptions(**{field.name: given.pop(field.name, None) for field in fields(ImproveOptions)})
