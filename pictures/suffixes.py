"""Which files are pictures, and which are videos, by the end of their names."""

from pathlib import Path

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


def is_picture(path: Path) -> bool:
    """Whether the file's name is that of a picture, in capitals or not."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def is_video(path: Path) -> bool:
    """Whether the file's name is that of a video, in capitals or not."""
    return path.suffix.lower() in VIDEO_SUFFIXES
