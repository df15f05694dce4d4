"""What kind of data set a folder looks like, for messages and for those who need not say."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from detection.layouts.coco_layout import is_coco_file
from detection.layouts.picture_places import subfolder
from foundation.errors import UserError
from foundation.file_reading import read_text
from pictures.annotations.coco_checks import read_json
from pictures.suffixes import is_hidden

_LOOKED_AT = 5000  # files of the folder, which may be anybody's


def guess_kind(root: Path) -> str | None:
    """The kind that reads the set in a folder, or of a data.yaml, by what it holds; None where none does.

    Returns:
        "yolo", "coco", "voc", "labelme", "via" or "csv".
    """
    if root.suffix in (".yaml", ".yml") and root.is_file():
        return "yolo" if _names_a_set(root) else None
    if not root.is_dir():
        return None
    if (root / "obj.data").is_file() or any(map(_names_a_set, (*root.glob("*.yaml"), *root.glob("*.yml")))):
        return "yolo"
    files = [path for path in islice(root.rglob("*"), _LOOKED_AT) if not is_hidden(path)]
    of_suffix = {
        s: sorted(f for f in files if f.suffix.lower() == s) for s in (".json", ".xml", ".csv", ".txt")
    }
    by_content = _kind_of_json(of_suffix[".json"])
    if by_content is not None:
        return by_content
    if of_suffix[".xml"]:
        return "voc"
    if any(_is_labels(file) for file in of_suffix[".txt"][:20]) or subfolder(root, "labels"):
        return "yolo"
    return "csv" if of_suffix[".csv"] else None


def _names_a_set(file: Path) -> bool:
    try:
        lines = read_text(file, "").splitlines()
    except UserError:  # no text, so no description of a set
        return False
    return all(any(line.startswith(key) for line in lines) for key in ("names:", "train:"))


def _kind_of_json(files: Sequence[Path]) -> str | None:
    """By what the first few files hold."""
    for file in files[:5]:
        if is_coco_file(file):
            return "coco"
        try:
            content = read_json(file)
        except UserError:
            continue
        if isinstance(content, dict) and isinstance(content.get("shapes"), list):
            return "labelme"
        if isinstance(content, dict) and "_via_img_metadata" in content:
            return "via"
    return None


def _is_labels(file: Path) -> bool:
    """Whether a text file begins with a line of a class and four or more numbers."""
    try:
        row = read_text(file, "").split("\n", 1)[0].split()
        return len(row) >= 5 and len([float(text) for text in row]) >= 5
    except ValueError:  # of float, and UserError where it is no text
        return False
