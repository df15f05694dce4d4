"""What a page is made of; the template knows how each part looks, and the readers of run folders fill them.

Every text in a part is plain text, whatever a class or a file is called: the template escapes it. Only what
`svg_charts` has drawn is markup.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup


@dataclass(frozen=True)
class Note:
    """A paragraph; a warning is what keeps the figures from saying what they seem to say."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table that scrolls in itself where it is wider than the page.

    Attributes:
        heading: of the columns.
        rows: cells, as many as the heading has.
        text: numbers of the columns that hold text; all others hold figures, aligned to the right.
        caption: what stands above.
        tall: it also scrolls in itself where it has more rows than a screen.
    """

    heading: Sequence[str]
    rows: Sequence[Sequence[str | Markup]]
    text: Collection[int] = (0,)
    caption: str = ""
    tall: bool = False


@dataclass(frozen=True)
class Chart:
    """A drawing with a title, and a legend of (number of the series, its name)."""

    title: str
    svg: Markup
    legend: Sequence[tuple[int, str]] = ()
    note: str = ""


@dataclass(frozen=True)
class Charts:
    """Charts side by side, as many as fit."""

    charts: Sequence[Chart]


@dataclass(frozen=True)
class Picture:
    """A picture inside the page.

    Attributes:
        source: a data URI.
        width, height: pixels.
    """

    source: str
    width: int
    height: int
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side below a title; wide ones are shown larger."""

    pictures: Sequence[Picture]
    note: str = ""
    wide: bool = False
    title: str = ""


@dataclass(frozen=True)
class Code:
    """Text to be copied: a command, a file."""

    text: str


Part = Note | Facts | Table | Charts | Gallery | Code


@dataclass(frozen=True)
class Section:
    """Parts below a heading; a folded one is opened by the reader."""

    title: str
    parts: Sequence[Part]
    folded: bool = False


@dataclass(frozen=True)
class Story:
    """What there is to say of one run.

    Attributes:
        name: of its folder, unique on the page.
        kind: in words, such as "training of a detector".
        headline: its main figure with interval, as a sentence.
    """

    name: str
    kind: str
    headline: str
    sections: Sequence[Section] = field(default_factory=tuple)
