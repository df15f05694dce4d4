"""Picture files: whether they can be read, whether they are what the annotation says, what is odd in them."""

import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from doctor.findings import Finding, find
from doctor.survey import SurveyedPicture
from foundation.errors import UserError
from pictures.decoding import decode_image, read_file
from pictures.suffixes import SUFFIXES_OF_FORMAT

ODD_MODES = {
    "grey_picture": ("1", "L", "LA", "La", "I", "F"),
    "cmyk_picture": ("CMYK",),
    "palette_picture": ("P", "PA"),
    "alpha_picture": ("RGBA", "RGBa", "LA", "La", "PA"),
    "deep_picture": ("I", "F"),
}
LONG = 10  # times as long as wide, or wide as long
ORIENTATION = 0x0112
LOOK = 16  # rows and columns of the perceptual hash
FLAT = 4.0  # grey levels of deviation below which a picture looks like nothing
_HEADER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


@dataclass
class PictureFacts:
    """What a file turned out to be.

    Attributes:
        size: (height, width) as the loader gives it to a set that states none, None if it cannot.
        stored: (height, width) before any turning by EXIF.
        digest: of its bytes, None if there are none.
        look: (LOOK * LOOK / 8,) uint8 perceptual hash; None if not decoded, or if the picture is flat.
    """

    size: tuple[int, int] | None = None
    stored: tuple[int, int] | None = None
    digest: bytes | None = None
    look: NDArray[np.uint8] | None = None
    findings: list[Finding] = field(default_factory=list)


def inspect_all(pictures: Sequence[SurveyedPicture], *, quick: bool, workers: int = 2) -> list[PictureFacts]:
    """The facts of every picture, with a progress line on a terminal.

    Args:
        quick: read headers instead of decoding.
        workers: threads; decoding and hashing release Python's lock.
    """
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda picture: inspect(picture, quick=quick), pictures)
        bar = tqdm(results, "pictures", len(pictures), leave=False, disable=not sys.stderr.isatty())
        return list(bar)


def inspect(picture: SurveyedPicture, *, quick: bool) -> PictureFacts:
    """The facts of one picture."""
    facts = PictureFacts()
    if not picture.path.is_file():
        facts.findings.append(find("missing_picture", picture.where, f"no file {picture.path}"))
        return facts
    try:
        content = read_file(picture.path)
    except UserError as error:
        facts.findings.append(find("unreadable_picture", picture.where, _reason(error, picture)))
        return facts
    if not content:
        facts.findings.append(find("empty_picture", picture.where, "0 bytes"))
        return facts
    facts.digest = hashlib.blake2b(content, digest_size=16).digest()
    try:
        with Image.open(BytesIO(content)) as image:
            orientation = _read_header(image, content, picture, facts)
        if not quick:
            pixels = decode_image(content, str(picture.path))
            facts.size, facts.look = pixels.shape[:2], look_of(pixels)
    except _HEADER_ERRORS as error:  # UserError is one of them
        facts.size = None
        facts.findings.append(find("unreadable_picture", picture.where, _reason(error, picture)))
        return facts
    _compare_sizes(picture, facts, orientation)
    return facts


def _reason(error: Exception, picture: SurveyedPicture) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no picture format begins like this file"
    return str(error).removeprefix(f"{picture.path}: ").split("; replace")[0]


def _read_header(image: Image.Image, content: bytes, picture: SurveyedPicture, facts: PictureFacts) -> int:
    """Notes on format and mode, sizes; gives the EXIF orientation."""
    where, deep = picture.where, image.mode.startswith("I;16") or _has_16_bits(content)
    notes = {check: f"mode {image.mode}" for check, modes in ODD_MODES.items() if image.mode in modes}
    if deep:
        notes["deep_picture"] = f"16 bits a value, mode {image.mode}"
    if image.mode.startswith("I;16"):
        notes["grey_picture"] = f"mode {image.mode}"
    if "transparency" in image.info:
        notes["alpha_picture"] = f"mode {image.mode} with a transparent colour"
    known = SUFFIXES_OF_FORMAT.get(image.format or "")
    if known is not None and picture.path.suffix.lower() not in known:
        notes["mislabelled_picture"] = f"holds a {image.format}; its content decides"
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        notes["several_frames"] = f"{image.n_frames} frames, of which the first is read"  # type: ignore[attr-defined]
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        notes["huge_picture"] = f"{image.width}x{image.height} pixels"
    if max(image.size) > LONG * min(image.size):
        notes["long_picture"] = f"{image.width}x{image.height}"
    orientation, problem = _orientation(image)
    if problem:
        notes["damaged_exif"] = f"{problem}; read as stored"
    facts.findings += [find(check, where, detail) for check, detail in notes.items()]
    facts.stored = (image.height, image.width)
    facts.size = facts.stored[::-1] if orientation >= 5 else facts.stored
    return orientation


def _has_16_bits(content: bytes) -> bool:
    """Whether a PNG says so: Pillow has read its colours with 8 already."""
    return content.startswith(b"\x89PNG") and content[24:25] == b"\x10"


def _orientation(image: Image.Image) -> tuple[int, str | None]:
    try:
        value: Any = image.getexif().get(ORIENTATION, 1)
    except _HEADER_ERRORS as error:
        return 1, str(error) or type(error).__name__
    return (value if isinstance(value, int) and 1 <= value <= 8 else 1), None


def _compare_sizes(picture: SurveyedPicture, facts: PictureFacts, orientation: int) -> None:
    """The stated size against that of the file, upright and as stored."""
    turned = orientation > 1
    if picture.size is None:
        if turned:
            detail = f"EXIF orientation {orientation}, applied; some pipelines of ImageNet do not"
            facts.findings.append(find("exif_turned", picture.where, detail))
        return
    assert facts.size is not None and facts.stored is not None
    stated, upright, stored = (f"{s[1]}x{s[0]}" for s in (picture.size, facts.size, facts.stored))
    if picture.size == facts.size:
        if turned and facts.size == facts.stored:
            detail = f"EXIF orientation {orientation}, and {stated} fits the picture turned or not"
            facts.findings.append(find("exif_ambiguous", picture.where, f"{detail}: look at its boxes"))
        elif turned:
            detail = f"EXIF orientation {orientation}; the annotation is of the turned picture, {stated}"
            facts.findings.append(find("exif_turned", picture.where, detail))
    elif picture.size == facts.stored:
        detail = f"stated {stated}, upright {upright}: EXIF orientation {orientation} is not applied"
        facts.findings.append(find("exif_size", picture.where, detail))
    else:
        detail = f"stated {stated}, the file has {upright} (width x height)"
        facts.findings.append(find("wrong_size", picture.where, detail))


def look_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """A hash that small changes leave alone: which of neighbouring cells is brighter (difference hash).

    Bit i of the picture stands in byte i modulo the number of bytes, so that every byte sees all of it.
    """
    grey = Image.fromarray(pixels).convert("L").resize((LOOK + 1, LOOK), Image.Resampling.BOX)
    cells = np.asarray(grey, dtype=np.float32)
    if cells.std() < FLAT:
        return None
    bits = (cells[:, 1:] > cells[:, :-1]).reshape(8, -1)
    return np.packbits(bits, axis=0).reshape(-1)
