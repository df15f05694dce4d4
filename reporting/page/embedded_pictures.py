"""Pictures inside the page, made small enough: at most `LONGEST` pixels a side, `MOST` of a kind."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from foundation.file_reading import readable
from pictures.opening import open_picture
from reporting.page.page_parts import Gallery, Note, Picture

MOST = 12  # pictures of one kind on the page
LONGEST = 1000  # pixels of a picture's longer side
PLOT_BYTES = 300_000  # up to which a plot stays a PNG
QUALITY = 82


def embed(file: Path, *, plot: bool = False, caption: str = "") -> Picture:
    """A PNG or JPEG file as a part of the page.

    Args:
        plot: few colours and small letters: stays a PNG, as it is, up to `PLOT_BYTES`; others become JPEG.
        caption: by default the file's name without its suffix.
    Raises:
        UserError: the file cannot be read.
    """
    with readable(file, "remove it, or make the pictures again"):
        content = file.read_bytes()
        picture = open_picture(content)
        picture.load()
    text = caption or file.stem
    if plot and picture.format == "PNG" and len(content) <= PLOT_BYTES:
        return Picture(_uri("png", content), picture.width, picture.height, text)
    longest = 2 * LONGEST if plot else LONGEST
    small = picture.convert("RGB")
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return Picture(_uri("jpeg", buffer.getvalue()), small.width, small.height, text)


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def gallery(
    files: Sequence[Path],
    *,
    wide: bool = False,
    plot: bool = False,
    last: bool = False,
    caption: Callable[[Path], str] = lambda file: file.stem,
) -> list[Gallery | Note]:
    """At most `MOST` of the files, and a line that says how many were left out, or that one is damaged.

    Args:
        last: of too many the last ones are shown, else the first.
        caption: of a file.
    """
    chosen = list(files)[-MOST:] if last else list(files)[:MOST]
    pictures, damaged = [], []
    for file in chosen:
        try:
            pictures.append(embed(file, plot=plot, caption=caption(file)))
        except ValueError as error:  # a UserError; the others are worth showing
            damaged.append(Note(str(error), warning=True))
    left = len(files) - len(chosen)
    note = f"{'The last' if last else 'The first'} {MOST} of {len(files)}." if left else ""
    return [*([Gallery(pictures, note, wide)] if pictures else []), *damaged]
