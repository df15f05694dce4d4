"""VOC's XML files wherever they lie.

Read are Annotations/ and JPEGImages/ (or images/) with the lists of ImageSets/Main (CVAT's VOC 1.1) or
without (Label Studio), the same in a folder for each split, the XML beside the pictures (Roboflow, labelImg),
and the devkit, where the configuration names its classes.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detection.data.annotation_writers import coco_annotation, coco_image
from detection.data.annotations import Problem
from detection.data.voc_checks import read_annotation, read_xml
from detection.data.voc_dataset import VocSplit
from detection.layouts.layout import FoundSet, Layout, SetOptions, categories
from detection.layouts.picture_places import (
    PICTURE_FOLDERS,
    SUBSETS,
    pictures_below,
    require_folder,
    subfolder,
)
from foundation.errors import UserError, plural, suggest
from foundation.file_reading import read_text
from pictures.file_names import find_file, fitting_files
from pictures.suffixes import PICTURE_SUFFIXES, is_hidden

_log = logging.getLogger(__name__)


def devkit_splits(root: Path | None) -> tuple[str, str]:
    """The defaults of data.train and data.val: the devkit's of 2007, or of the year that there is."""
    years = [] if root is None else [path.name.removeprefix("VOC") for path in _years(root)]
    if root is not None and not years:
        return "train", "val"
    year = "2007" if root is None or "2007" in years else years[0]
    lists = None if root is None else root / f"VOC{year}" / "ImageSets" / "Main"
    official = year == "2007" and (lists is None or (lists / "test.txt").is_file())
    return (f"{year}:trainval", f"{year}:test") if official else (f"{year}:train", f"{year}:val")


def is_devkit(root: Path, split: str, options: SetOptions) -> bool:
    """Whether this is a split of the devkit, and nothing else is asked of it than VOC's classes."""
    return (":" in split or bool(_years(root))) and options.classes is None


def _years(root: Path) -> list[Path]:
    """The folders of a devkit's years."""
    found = sorted(root.glob("VOC*")) if root.is_dir() else []
    return [path for path in found if (path / "Annotations").is_dir()]


@dataclass(frozen=True)
class _Files:
    """The annotations of a split, with the name by which a list calls each, and where their pictures are."""

    annotations: Sequence[Path]
    pictures: Path
    listed: bool = False


def find_voc(root: Path, options: SetOptions) -> FoundSet:
    """The splits of a set of XML files below `root`.

    Raises:
        UserError: there are none, or a label that occurs is not in the set's own list of classes.
    """
    require_folder("data.root", root)
    if options.pictures is not None:
        require_folder("data.pictures", options.pictures)
    what, files = _search(root, options.pictures)
    if not any(split.annotations for split in files.values()):
        raise UserError(
            f"{root} holds no VOC set: looked for XML files in Annotations/, in {'/, '.join(SUBSETS[:3])}/ "
            "and beside pictures, and for the devkit's VOC<year>/"
        )
    classes = _classes(root, [file for split in files.values() for file in split.annotations], options)
    splits: dict[str, Callable[[], Layout]] = {
        name: partial(_read, root, split, classes) for name, split in files.items()
    }
    return FoundSet(what, root, splits)


def _search(root: Path, pictures: Path | None) -> tuple[str, dict[str, _Files]]:
    """The layout in words, and the files of each split."""
    if years := _years(root):
        named = {f"{VocSplit(y, '').year}:{name}": files for y in years for name, files in _lists(y).items()}
        return "VOC's devkit", named
    if lists := _lists(root, pictures):
        return "VOC with ImageSets/", lists
    if (found := _folder(root, pictures)).annotations:
        return "VOC in folders", {"all": found}
    children = [path for path in sorted(root.iterdir()) if path.is_dir() and not is_hidden(path)]
    splits = {path.name: _folder(path, pictures) for path in children if path.name.lower() in SUBSETS}
    if not splits and (annotations := subfolder(root, "annotations")):
        below = {path.name: path for path in sorted(annotations.iterdir()) if path.is_dir()}
        place = pictures or subfolder(root, *PICTURE_FOLDERS) or root
        splits = {name: _Files(_xml(path), place) for name, path in below.items() if name.lower() in SUBSETS}
    return "VOC with a folder a split", splits


def _xml(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.xml")) if not is_hidden(file)]


def _folder(folder: Path, pictures: Path | None) -> _Files:
    """XML in the folder itself or in Annotations/, and the pictures beside it or in JPEGImages/."""
    annotations = _xml(folder) or _xml(subfolder(folder, "annotations") or folder)
    return _Files(annotations, pictures or subfolder(folder, *PICTURE_FOLDERS) or folder)


def _lists(folder: Path, pictures: Path | None = None) -> dict[str, _Files]:
    """The splits that ImageSets/Main lists; lists of single classes, as cat_train.txt, are none."""
    found = {}
    for file in sorted((folder / "ImageSets" / "Main").glob("*.txt")):
        if "_" not in file.stem and (names := VocSplit(folder, file.stem).image_ids()):
            place = pictures or subfolder(folder, *PICTURE_FOLDERS) or folder
            annotations = [VocSplit(folder, file.stem).annotation_file(name) for name in names]
            found[file.stem] = _Files(annotations, place, listed=True)
    return found


def _classes(root: Path, annotations: Sequence[Path], options: SetOptions) -> list[str]:
    """The names in the order of the labels: of the set's own list, else all that occur, by name."""
    occurring: dict[str, Path] = {}
    for file in annotations:
        for name in _labels(file):
            occurring.setdefault(name, file)
    listed = None if options.classes is not None else _listed_classes(root)
    if listed is None:
        return sorted(occurring)
    source, names = listed
    for name in sorted(set(occurring) - set(names)):
        raise UserError(
            f"{occurring[name]}: label {name!r} is not in {source}{suggest(name, names)}; add it there, or "
            "take all that occur with data.classes=auto"
        )
    return names


def _labels(file: Path) -> Iterator[str]:
    root = read_xml(file)
    if not isinstance(root, Problem):
        names = ((node.findtext("name") or "").strip() for node in root.findall("object"))
        yield from filter(None, names)


def _listed_classes(root: Path) -> tuple[Path, list[str]] | None:
    """CVAT's labelmap.txt, whose lines are name:colour:parts:actions, or labelImg's classes.txt."""
    for folder in (root, root / "Annotations"):
        for name in ("labelmap.txt", "classes.txt"):
            if not (folder / name).is_file():
                continue
            lines = read_text(folder / name, "expected the name of a class in each line").splitlines()
            texts = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
            names = [text.split(":")[0] if name == "labelmap.txt" else text for text in texts]
            return folder / name, [text for text in dict.fromkeys(names) if text != "background"]
    return None


def _read(root: Path, files: _Files, classes: Sequence[str]) -> Layout:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    problems: list[Problem] = []
    used: set[Path] = set()
    for file in files.annotations:
        where, picture = Path(os.path.relpath(file, root)).as_posix(), _picture_of(file, files.pictures)
        used.add(picture)
        size, objects, found = read_annotation(file, classes, picture)
        problems += [p._replace(where=f"{where} {p.where}".strip()) for p in found]
        if size is None:
            continue
        name = Path(os.path.relpath(picture, root)).as_posix()
        images.append(coco_image(name, name, size))
        annotations += [
            coco_annotation(0, name, o.label, o.box, crowd=o.difficult) | {"id": f"{where} object {o.number}"}
            for o in objects
        ]
    if not files.listed and files.pictures.is_dir():
        _tell_of_others(files.pictures, used)
    content = {"images": images, "categories": categories(classes), "annotations": annotations}
    return Layout(content, root, str(root), tuple(problems))


def _picture_of(annotation: Path, folder: Path) -> Path:
    """The picture of an XML file: of the same name, else the one that it calls <filename>."""
    for place in dict.fromkeys((folder, annotation.parent, folder / annotation.parent.name)):
        for suffix in PICTURE_SUFFIXES:
            if os.path.isfile(place / f"{annotation.stem}{suffix}"):
                return place / f"{annotation.stem}{suffix}"
        fitting = [f for s in PICTURE_SUFFIXES for f in fitting_files(place, annotation.stem + s)]
        if len(fitting) == 1:
            return fitting[0]
    root = read_xml(annotation)
    named = "" if isinstance(root, Problem) else (root.findtext("filename") or "").strip()
    return find_file(folder, named or f"{annotation.stem}.jpg")


def _tell_of_others(folder: Path, used: set[Path]) -> None:
    """Says how many pictures have no XML file, which says of none that it shows no object."""
    others = [path for path in pictures_below(folder) if path not in used]
    below = [path for path in others if path.parent == folder]
    if below:
        text = "%s: no XML file of %s, left out, for instance %s; write one without objects"
        _log.warning(text, folder, plural(len(below), "picture"), below[0].name)
