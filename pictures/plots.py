"""Charts as files: panels to draw on, labels that show names as they are, PNG and SVG written whole."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundation.atomic_files import replace_atomically
from pictures.lettering import OWN_FONT, chart_fonts, legible


def new_axes(
    rows: int, columns: int, *, size: tuple[float, float] = (5.2, 3.9), **options: Any
) -> tuple[Any, Any]:
    """A figure of panels of this size, width and height in inches, and its axes, (rows, columns)."""
    from matplotlib.figure import Figure  # only here: it is slow to import

    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    return figure, axes


def chart_label(name: str, width: int | None = None) -> str:
    """A name from data as a label that matplotlib shows as it is, in lines of at most `width` characters.

    A pair of "$" would make it a formula, and a legend leaves out labels that begin with "_".
    """
    lines = [legible(name)] if width is None else textwrap.wrap(legible(name), width)
    label = "\n".join(lines).replace("$", r"\$")
    return f"\u200b{label}" if label.startswith("_") else label  # a space without width


def save_plot(figure: Any, stem: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Writes stem.png and stem.svg, with equal bytes for equal figures, in fonts that have their letters."""
    import matplotlib
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        families = chart_fonts([text.get_text()])
        if families != [OWN_FONT]:
            text.set_fontfamily(families)
    files = []
    with matplotlib.rc_context({"svg.hashsalt": "analysis"}):
        for suffix in formats:
            files.append(stem.with_suffix(f".{suffix}"))
            metadata = {"Software" if suffix == "png" else "Date": None}
            with replace_atomically(files[-1]) as temporary:
                figure.savefig(temporary, format=suffix, dpi=130, metadata=metadata)
    return files
