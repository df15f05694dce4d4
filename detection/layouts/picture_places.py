"""Where the pictures of an annotation file lie, which every program writes in another place."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from foundation.errors import UserError, plural
from pictures.annotations.coco_split import coco_split, coco_split_name
from pictures.file_names import find_file
from pictures.suffixes import is_hidden, is_picture

PICTURE_FOLDERS = ("images", "JPEGImages", "data", "imgs", "img")
SUBSETS = ("train", "val", "valid", "validation", "test")


def require_folder(key: str, folder: Path) -> None:
    """Raises a UserError unless the folder that a key of the configuration names is there."""
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "no such folder"
        holds = "the pictures" if key == "data.pictures" else "the set"
        raise UserError(f"{key}: {folder.absolute()}: {found}; {key} names the folder of {holds}")


def is_file_name(split: str) -> bool:
    """Whether a configuration names a split by its file of annotations."""
    return split.lower().endswith((".json", ".csv", ".tsv"))


def pictures_below(folder: Path) -> Iterator[Path]:
    """Every picture below a folder, by name, without what lies in hidden folders."""
    for path in sorted(folder.iterdir()):
        if is_hidden(path):
            continue
        if path.is_dir():
            yield from pictures_below(path)
        elif is_picture(path):
            yield path


def subfolder(folder: Path, *names: str) -> Path | None:
    """The subfolder of one of these names, in capitals or not; the first that there is."""
    children = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    return next((children[name.lower()] for name in names if name.lower() in children), None)


def locate_pictures(names: Sequence[str], folders: Sequence[Path], where: str) -> tuple[Path, list[str]]:
    """The folder that has the pictures of an annotation file, and their names below it.

    Args:
        names: as the file gives them, perhaps with folders of the machine that wrote it.
        folders: to look in, the likeliest first.
        where: the file, named in errors.
    Raises:
        UserError: none of the folders has any of them.
    """
    looked = list(dict.fromkeys(folder for folder in folders if folder.is_dir()))
    last = [name.replace("\\", "/").rpartition("/")[2] for name in names]
    best, place = 0, None
    for written in (list(names), last):
        for folder in looked:
            count = sum(os.path.isfile(find_file(folder, name)) for name in written)
            if count > best:
                best, place = count, (folder, written)
            if count == len(names) > 0:
                return folder, written
    if place is None and names:
        shown = ", ".join(map(str, looked)) or "no folder"
        raise UserError(
            f"{where}: none of its {plural(len(names), 'picture')} was found, for instance {names[0]!r}; "
            f"looked in {shown}: name their folder with data.pictures=FOLDER"
        )
    return place or (folders[0], list(names))


def picture_folders(root: Path, split: str, file: Path, pictures: Path | None) -> list[Path]:
    """Where to look for pictures, the likeliest first; nowhere else where the configuration says where."""
    if pictures is not None:
        require_folder("data.pictures", pictures)
        return [pictures, pictures / split] if split else [pictures]
    split = split or split_of(file)
    found = [file.parent, coco_split(file.parent.parent, coco_split_name(file)).pictures]
    for base in (file.parent, root, file.parent.parent):
        found += [base / split, base / split / "images", base]
        found += [base / folder / below for folder in PICTURE_FOLDERS for below in (split, ".")]
    return found


def split_of(file: Path) -> str:
    """Of train.json, train_annotations.json or instances_train.json "train"."""
    parts = re.split(r"[_.\-]", coco_split_name(file).lower())
    return next((part for part in parts if part in SUBSETS), file.stem)
