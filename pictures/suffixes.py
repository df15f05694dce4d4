"""Which files are pictures, and which are videos, by the end of their names."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from foundation.errors import plural

# By Pillow's name of the format. MPO is what some cameras write: JPEGs with a second picture inside.
SUFFIXES_OF_FORMAT = {
    "JPEG": {".jpg", ".jpeg"},
    "MPO": {".jpg", ".jpeg"},
    "PNG": {".png"},
    "WEBP": {".webp"},
    "BMP": {".bmp"},
    "TIFF": {".tif", ".tiff"},
    "PPM": {".ppm", ".pgm"},
}
PICTURE_SUFFIXES = tuple(sorted(set().union(*SUFFIXES_OF_FORMAT.values())))
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")


# Folders that unpackers and network drives leave beside pictures, with names like those of the pictures.
_DROPPINGS = ("__MACOSX", "@eaDir")


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is a dropping of a program, such as macOS' ._a.jpg or .ipynb_checkpoints."""
    return path.name.startswith(".") or path.name in _DROPPINGS


def is_picture(path: Path) -> bool:
    """Whether the file's name is that of a picture, in capitals or not, and not hidden."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not is_hidden(path)


def count_others(files: Iterable[Path]) -> str:
    """Files in folders of pictures that are left out because their suffix is of no picture, for a message.

    Returns:
        For instance "3 files left out, no pictures by their suffix: 2 .gif, 1 .txt"; "" without any. Hidden
        files and folders do not count.
    """
    others = [file for file in files if not is_picture(file) and not is_hidden(file) and file.is_file()]
    if not others:
        return ""
    suffixes = Counter(sorted(file.suffix.lower() or "without" for file in others))
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5))
    more = ", …" if len(suffixes) > 5 else ""
    return f"{plural(len(others), 'file')} left out, no pictures by their suffix: {kinds}{more}"


def is_video(path: Path) -> bool:
    """Whether the file's name is that of a video, in capitals or not."""
    return path.suffix.lower() in VIDEO_SUFFIXES
