"""COCO files wherever they lie: named one by one, or as other programs export them.

Read are, below the root,
<split>/_annotations.coco.json beside the pictures (Roboflow),
annotations/instances_<split>.json with images/ or <split>/ (COCO, mmdetection, CVAT),
result.json (Label Studio), labels.json (FiftyOne) or any other COCO file in the root or in <split>/.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from detection.layouts.layout import FoundSet, Layout, SetOptions
from detection.layouts.picture_places import (
    SUBSETS,
    is_file_name,
    locate_pictures,
    picture_folders,
    require_folder,
    split_of,
)
from foundation.errors import UserError
from pictures.annotations.coco_checks import read_json, section_of
from pictures.annotations.coco_split import coco_split, coco_split_name
from pictures.suffixes import is_hidden

_log = logging.getLogger(__name__)

ROBOFLOW = "_annotations.coco.json"


def official_splits(root: Path | None) -> tuple[str, str]:
    """The defaults of data.train and data.val: COCO's of 2017 unless the root is of a set without them."""
    official = root is None or coco_split(root, "train2017").annotation_file.is_file()
    return ("train2017", "val2017") if official else ("train", "val")


def is_official(root: Path, split: str, options: SetOptions) -> bool:
    """Whether the files of a split lie where COCO's do, and nothing else is asked of them."""
    if options.pictures is not None or isinstance(options.classes, tuple):
        return False
    if options.val == "val" and not coco_split(root, "val").annotation_file.is_file():
        return False  # the training pictures may have to be divided
    return all(coco_split(root, part).annotation_file.is_file() for part in split.split("+"))


def find_coco(root: Path, options: SetOptions) -> FoundSet:
    """The splits of a set below `root`, and those that the options name as files.

    Raises:
        UserError: there are none.
    """
    named = [part for part in _parts(options.train) + _parts(options.val) if part.endswith(".json")]
    if named:
        what, files = "COCO by files", {part: root / part for part in named}
        missing = [file for file in files.values() if not file.is_file()]
        if missing:
            read_json(missing[0])  # says what is wrong
    else:
        what, files = _search(root)
    if not files:
        raise UserError(
            f"{root} holds no COCO set: looked for annotations/instances_<split>.json, <split>/{ROBOFLOW} "
            "and for COCO files in the folder itself; name yours with data.train=FILE.json and its folder of "
            "pictures with data.pictures=FOLDER"
        )
    splits: dict[str, Callable[[], Layout]] = {
        name: partial(_read, root, name, file, options) for name, file in files.items()
    }
    return FoundSet(what, root, splits)


def _parts(split: str) -> list[str]:
    return split.split("+")


def _search(root: Path) -> tuple[str, dict[str, Path]]:
    """The layout in words, and the file of each split."""
    require_folder("data.root", root)
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not is_hidden(path)]
    if found := {path.name: path / ROBOFLOW for path in folders if (path / ROBOFLOW).is_file()}:
        return "COCO as Roboflow exports it", found
    if (root / ROBOFLOW).is_file():
        return "COCO as Roboflow exports it", {"all": root / ROBOFLOW}
    annotations = sorted((root / "annotations").glob("instances_*.json"))
    if annotations:
        return "COCO with annotations/", {coco_split_name(file): file for file in annotations}
    files = _coco_files(root) or _coco_files(root / "annotations")
    if len(files) == 1:
        return f"COCO with {files[0].name}", {"all": files[0]}
    if files:
        return "COCO with a file a split", {split_of(file): file for file in files}
    in_splits = {path.name: _coco_files(path) for path in folders if path.name.lower() in SUBSETS}
    return "COCO with a folder a split", {name: files[0] for name, files in in_splits.items() if files}


def _coco_files(folder: Path) -> list[Path]:
    """The files of a folder that are COCO annotations by their content."""
    return [file for file in sorted(folder.glob("*.json")) if not is_hidden(file) and is_coco_file(file)]


def is_coco_file(file: Path) -> bool:
    """Whether a JSON file has COCO's lists of pictures and categories."""
    try:
        content = read_json(file)
    except UserError:
        return False
    return isinstance(content, dict) and all(
        isinstance(content.get(s), list) for s in ("images", "categories")
    )


def _read(root: Path, name: str, file: Path, options: SetOptions) -> Layout:
    content = _without_dummy(read_json(file), file)
    images = section_of(content, "images")
    if not all(isinstance(image, dict) and isinstance(image.get("file_name"), str) for image in images):
        return Layout(content, file.parent, str(file))  # refused by the check of annotations
    subset = "" if is_file_name(name) else name
    folders = picture_folders(root, subset, file, options.pictures)
    folder, names = locate_pictures([image["file_name"] for image in images], folders, str(file))
    renamed = [{**image, "file_name": written} for image, written in zip(images, names, strict=True)]
    return Layout({**content, "images": renamed} if isinstance(content, dict) else content, folder, str(file))


def _without_dummy(content: Any, file: Path) -> Any:
    """The content without the category 0 in which Roboflow writes the name of the whole, never an object."""
    categories, annotations = section_of(content, "categories"), section_of(content, "annotations")
    entries = [entry for entry in categories if isinstance(entry, dict)]
    first = next((entry for entry in entries if entry.get("id") == 0), None)
    if file.name != ROBOFLOW or first is None or len(entries) < 2:
        return content
    others = [entry for entry in entries if entry is not first]
    is_group = all(entry.get("supercategory") == first.get("name") for entry in others)
    used = any(isinstance(entry, dict) and entry.get("category_id") == 0 for entry in annotations)
    if first.get("supercategory") != "none" or not is_group or used:
        return content
    _log.info("%s: category 0 %r is the group of all others and no class", file, first.get("name"))
    return {**content, "categories": [entry for entry in categories if entry is not first]}
