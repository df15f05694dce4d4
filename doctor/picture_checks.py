"""Picture files: whether they can be read, whether they are what the annotation says, what is odd in them."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from doctor.findings import Finding, find
from doctor.survey import SurveyedPicture
from pictures.decoding import decode_image, read_file
from pictures.file_names import name_fitting
from pictures.opening import DECODING_ERRORS, TooManyPixelsError, open_picture
from pictures.suffixes import SUFFIXES_OF_FORMAT
from training.progress.progress_bar import watched

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


@dataclass
class PictureFacts:
    """What a file turned out to be.

    Attributes:
        where: how findings call the picture.
        size: (height, width) as the loader gives it to a set that states none, None if it cannot.
        stored: (height, width) before any turning by EXIF.
        fitting: that of the two which the boxes fit, where they do not fit the stated one.
        digest: of its bytes, None if there are none.
        look: (LOOK * LOOK / 8,) uint8 perceptual hash; None if not decoded, or if the picture is flat.
    """

    where: str
    size: tuple[int, int] | None = None
    stored: tuple[int, int] | None = None
    fitting: tuple[int, int] | None = None
    digest: bytes | None = None
    look: NDArray[np.uint8] | None = None
    findings: list[Finding] = field(default_factory=list)

    def find(self, check: str, detail: str) -> None:
        """Adds a finding."""
        self.findings.append(find(check, self.where, detail))


def inspect_all(pictures: Sequence[SurveyedPicture], *, quick: bool, workers: int = 2) -> list[PictureFacts]:
    """The facts of every picture, with a progress line on a terminal.

    Args:
        quick: read headers instead of decoding.
        workers: threads; decoding and hashing release Python's lock.
    """
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda picture: inspect(picture, quick=quick), pictures)
        return list(watched(results, len(pictures), unit="picture", title="reading pictures"))


def inspect(picture: SurveyedPicture, *, quick: bool) -> PictureFacts:
    """The facts of one picture."""
    facts = PictureFacts(picture.where)
    if not picture.path.is_file():
        facts.find("missing_picture", f"no file {picture.path}{name_fitting(picture.path)}")
        return facts
    try:
        content = read_file(picture.path)
        if not content:
            facts.find("empty_picture", "0 bytes")
            return facts
        facts.digest = hashlib.blake2b(content, digest_size=16).digest()
        with open_picture(content) as image:
            orientation = _read_header(image, content, picture, facts)
        if not quick:
            pixels = decode_image(content, str(picture.path))
            facts.size, facts.look = pixels.shape[:2], look_of(pixels)
        _compare_sizes(picture, facts, orientation)
    except TooManyPixelsError as error:
        facts.find("huge_picture", str(error))
    except UnidentifiedImageError:
        facts.find("unreadable_picture", "no picture format begins like this file")
    except DECODING_ERRORS as error:  # UserError is one of them
        facts.size = None
        facts.find("unreadable_picture", str(error).removeprefix(f"{picture.path}: ").split("; replace")[0])
    return facts


def _read_header(image: Image.Image, content: bytes, picture: SurveyedPicture, facts: PictureFacts) -> int:
    """Notes on format and mode, sizes; gives the EXIF orientation."""
    notes = {check: f"mode {image.mode}" for check, modes in ODD_MODES.items() if image.mode in modes}
    # Pillow reads the colours of a PNG with 16 bits as 8; only the header says so.
    deep_png = content.startswith(b"\x89PNG") and content[24:25] == b"\x10"
    if deep_png or image.mode.startswith("I;16"):
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
    if max(image.size) > LONG * min(image.size):
        notes["long_picture"] = f"{image.width}x{image.height}"
    orientation: Any = 1
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except DECODING_ERRORS as error:
        notes["damaged_exif"] = f"{str(error) or type(error).__name__}; read as stored"
    if not isinstance(orientation, int) or not 1 <= orientation <= 8:
        orientation = 1
    for check, detail in notes.items():
        facts.find(check, detail)
    facts.stored = (image.height, image.width)
    facts.size = facts.stored[::-1] if orientation >= 5 else facts.stored
    return orientation


def _compare_sizes(picture: SurveyedPicture, facts: PictureFacts, orientation: int) -> None:
    """The stated size against that of the file, upright and as stored."""
    turned, exif = orientation > 1, f"EXIF orientation {orientation}"
    if picture.size is None:
        if turned:
            facts.find("exif_turned", f"{exif}, applied; some pipelines of ImageNet do not")
        return
    assert facts.size is not None
    stated, upright = (f"{width}x{height}" for height, width in (picture.size, facts.size))
    if picture.size == facts.size:
        if turned and facts.size == facts.stored:
            fits = f"{stated} fits the picture turned or not"
            facts.find("exif_ambiguous", f"{exif}, and {fits}: look at its boxes")
        elif turned:
            facts.find("exif_turned", f"{exif}; the annotation is of the turned picture, {stated}")
    elif picture.size == facts.stored:
        facts.find("exif_size", f"stated {stated}, upright {upright}: {exif} is not applied")
    else:
        facts.find("wrong_size", f"stated {stated}, the file has {upright} (width x height)")


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
