"""Sets made with labelme or VIA, or kept as tables: where their splits lie, and which classes they have."""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

from detection.data.annotations import Problem
from detection.layouts.csv_layout import read_csv
from detection.layouts.drawn_objects import DrawnPicture, coco_content, only_boxes
from detection.layouts.labelme_layout import read_labelme, read_labels
from detection.layouts.layout import FoundSet, Layout, SetOptions
from detection.layouts.picture_places import (
    SUBSETS,
    is_file_name,
    locate_pictures,
    picture_folders,
    require_folder,
    split_of,
)
from detection.layouts.via_layout import drawn_regions, read_via_json
from foundation.errors import UserError, suggest
from foundation.file_reading import read_text
from pictures.decoding import image_size
from pictures.file_names import find_file
from pictures.suffixes import is_hidden

ROBOFLOW = "_annotations.csv"
CLASSES_FILE = "classes.csv"  # keras-retinanet's name for it
_TABLES = (".csv", ".tsv")

# The pictures, the folder below which they lie, and what is wrong with single objects.
_Drawn = tuple[list[DrawnPicture], Path, list[Problem]]
_Classes = tuple[Sequence[str], str] | None  # their names, and where they were stated; None: all that occur


def find_labelme(root: Path, options: SetOptions) -> FoundSet:
    """The splits of a set made with labelme: the folders train, val, … or the whole folder.

    The classes are those of data.classes, or of labels.txt in the root, or all labels that occur, sorted.

    Raises:
        UserError: there is no such folder, or one of pictures, or labels.txt is malformed.
    """
    if options.pictures is not None:
        require_folder("data.pictures", options.pictures)
    folders = {path.name: path for path in _subsets(root) if any(path.rglob("*.json"))}
    folders |= {part: root / part for part in _named(options) if (root / part).is_dir()}
    readers = {
        name: (path, partial(_read_labelme, path, options.pictures))
        for name, path in (folders or {"all": root}).items()
    }
    return _found_set("labelme", root, readers, _stated(options) or read_labels(root))


def find_csv(root: Path, options: SetOptions) -> FoundSet:
    """The splits of a set of tables (CSV), or those that the options name as files.

    They are <split>/_annotations.csv beside the pictures (Roboflow), one table a split in the root, or the
    only one there. The classes are those of data.classes, or of keras-retinanet's classes.csv in the root
    (name and number), or all labels that occur, sorted.

    Raises:
        UserError: there is no table, or classes.csv is malformed.
    """
    files = _files(root, options, _TABLES)
    return _found_set("tables (CSV)", root, _readers(root, files, options), _stated(options) or _listed(root))


def find_via(root: Path, options: SetOptions) -> FoundSet:
    """The splits of a set made with VIA, a JSON or a table in the root or in the folder of each split.

    The classes are those of data.classes, or all that occur, sorted.

    Raises:
        UserError: there is no such file.
    """
    files = _files(root, options, (".json", *_TABLES))
    return _found_set("VIA", root, _readers(root, files, options), _stated(options))


def _read_labelme(folder: Path, pictures: Path | None) -> _Drawn:
    problems: list[Problem] = []
    return *read_labelme(folder, pictures, problems), problems


def _stated(options: SetOptions) -> _Classes:
    return (options.classes, "data.classes") if isinstance(options.classes, tuple) else None


def _named(options: SetOptions) -> list[str]:
    """The splits that the options name, each for itself."""
    return [*options.train.split("+"), *options.val.split("+")]


def _subsets(root: Path) -> list[Path]:
    """The folders in the root that have the name of a split."""
    require_folder("data.root", root)
    return [path for path in sorted(root.iterdir()) if path.name.lower() in SUBSETS and path.is_dir()]


def _files(root: Path, options: SetOptions, suffixes: Sequence[str]) -> dict[str, Path]:
    """The file of annotations of each split."""
    named = [part for part in _named(options) if part.lower().endswith(tuple(suffixes))]
    if named:
        return {part: root / part for part in named}
    in_folders = {path.name: _files_in(path, suffixes) for path in _subsets(root)}
    if any(in_folders.values()):
        return {name: files[0] for name, files in in_folders.items() if files}
    files = _files_in(root, suffixes) or _files_in(root / "annotations", suffixes)
    if not files:
        kinds = " or ".join(suffixes)
        raise UserError(
            f"{root} holds no annotations ({kinds}), nor do train and val in it; name yours with "
            "data.train=FILE and its folder of pictures with data.pictures=FOLDER"
        )
    return {"all": files[0]} if len(files) == 1 else {split_of(file): file for file in files}


def _files_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder that can be annotations; that of Roboflow's name alone if it is there."""
    if (folder / ROBOFLOW).is_file():
        return [folder / ROBOFLOW]
    files = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in suffixes]
    return [path for path in files if path.is_file() and not is_hidden(path) and path.name != CLASSES_FILE]


def _readers(
    root: Path, files: Mapping[str, Path], options: SetOptions
) -> dict[str, tuple[Path, Callable[[], _Drawn]]]:
    return {name: (file, partial(_read, root, name, file, options)) for name, file in files.items()}


def _read(root: Path, name: str, file: Path, options: SetOptions) -> _Drawn:
    """The pictures of one file, under the names of the files that they are found in."""
    classes = options.classes if isinstance(options.classes, tuple) else None
    problems: list[Problem] = []
    if file.suffix.lower() == ".json":
        pictures = drawn_regions(read_via_json(file), classes, str(file), problems)
    else:
        pictures = read_csv(file, classes, problems)
    stated = [picture.file_name for picture in pictures]
    subset = "" if name == "all" or is_file_name(name) else name
    folders = picture_folders(root, subset, file, options.pictures)
    folder, names = locate_pictures(stated, folders, str(file))
    first: dict[str, str] = {}
    for written, found in zip(stated, names, strict=True):
        if first.setdefault(found, written) != written:
            text = f"the pictures {first[found]!r} and {written!r} were both found as {folder / found}"
            raise UserError(f"{file}: {text}; write paths below {folder}")
    renamed = [p._replace(file_name=found) for p, found in zip(pictures, names, strict=True)]
    return renamed, folder, problems


def _listed(root: Path) -> _Classes:
    """The classes of classes.csv in the order of their numbers; None without such a file."""
    file = root / CLASSES_FILE
    if not file.is_file():
        return None
    expected = "expected a name of a class and its number, 0, 1, …, in each line"
    rows = [row for row in csv.reader(read_text(file, expected).splitlines()) if row]
    names = {row[1].strip(): row[0].strip() for row in rows if len(row) == 2}
    if sorted(names) != sorted(map(str, range(len(rows)))) or len(set(names.values())) < len(rows):
        raise UserError(f"{file}: {expected}; each once")
    return [names[str(number)] for number in range(len(rows))], str(file)


def _found_set(
    what: str, root: Path, readers: Mapping[str, tuple[Path, Callable[[], _Drawn]]], classes: _Classes
) -> FoundSet:
    """The set whose splits are read by these, each once, with the classes and the masks of all of them."""
    read = {name: cache(reader) for name, (_, reader) in readers.items()}

    def layout(name: str) -> Layout:
        pictures, folder, found = read[name]()
        problems = list(found)
        every = [picture for reader in read.values() for picture in reader()[0]]
        if classes is not None:
            pictures = [_of_known(picture, *classes, problems) for picture in pictures]
        labels = {found.label for picture in every for found in picture.objects}
        prefix = Path(os.path.relpath(folder, root))  # pictures of one name may lie in several folders
        content = coco_content(
            [_sized(picture, folder) for picture in pictures],
            sorted(labels) if classes is None else classes[0],
            lambda file_name: (prefix / file_name).as_posix(),
            masks=not only_boxes(every),
        )
        for annotation in content["annotations"]:  # short, and the same wherever the set lies
            annotation["id"] = annotation["id"].removeprefix(f"{root}{os.sep}")
        source = str(readers[name][0])
        short = (p.where.removeprefix(source).lstrip(f":{os.sep} ") for p in problems)
        named = (p._replace(where=where) for p, where in zip(problems, short, strict=True))
        return Layout(content, folder, source, tuple(named))

    return FoundSet(what, root, {name: partial(layout, name) for name in readers})


def _sized(picture: DrawnPicture, folder: Path) -> DrawnPicture:
    """The picture with the size of its file where none is stated."""
    if picture.size is not None:
        return picture
    return picture._replace(size=image_size(find_file(folder, picture.file_name)))


def _of_known(
    picture: DrawnPicture, classes: Sequence[str], source: str, problems: list[Problem]
) -> DrawnPicture:
    """The picture without objects of classes that are none, which are problems."""
    for found in picture.objects:
        if found.label not in classes:
            text = f"label {found.label!r} is not in {source}{suggest(found.label, classes)}"
            problems.append(
                Problem("unknown_category", found.where, f"{text}; add it there or correct the label")
            )
    return picture._replace(objects=[found for found in picture.objects if found.label in classes])
