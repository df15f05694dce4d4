"""Where the pictures, the labels and the names of a YOLO set lie.

Read are Ultralytics' data.yaml, darknet's obj.data with its lists (CVAT's YOLO 1.1), and without either the
folders images/ and labels/, undivided or with a folder for each split (Label Studio, Roboflow), or the text
files beside the pictures. What a data.yaml says is taken for what exists: Roboflow names ../valid/images.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detection.layouts.layout import ROLES, FoundSet, Layout, SetOptions
from detection.layouts.picture_places import SUBSETS, pictures_below, require_folder, subfolder
from detection.layouts.yolo_labels import Labelled, read_labels
from foundation.errors import UserError, plural
from foundation.file_reading import read_text, readable
from foundation.yaml12 import read_yaml
from pictures.suffixes import is_hidden, is_picture

_log = logging.getLogger(__name__)

_IN_FOLDERS = "YOLO in folders"
_PICTURES = ("images", "jpegimages", "imgs", "img")
_LABELS = ("labels", "annotations", "label")
_DARKNET = {"obj_train_data": "train", "obj_valid_data": "val", "obj_test_data": "test"}


@dataclass(frozen=True)
class _Description:
    """What a set says of itself: in which file, its names, and the folders and lists of each split."""

    what: str
    names: tuple[str, ...] | None
    entries: Mapping[str, Sequence[Path]]
    keypoints: bool = False


def find_yolo(root: Path, options: SetOptions) -> FoundSet:
    """The splits of a set below `root`, or of the data.yaml that it names.

    Raises:
        UserError: there are no pictures, or nothing names the classes.
    """
    yaml_file = root if root.suffix in (".yaml", ".yml") else None
    root = root.parent if yaml_file else root
    require_folder("data.root", root)
    yaml_file = yaml_file or _data_yaml(root)
    if yaml_file is not None:
        found = _read_data_yaml(yaml_file)
    elif (root / "obj.data").is_file():
        found = _read_obj_data(root / "obj.data")
    else:
        found = _Description(_IN_FOLDERS, None, _folders(root, options.pictures))
    if options.pictures is not None and found.what != _IN_FOLDERS:
        raise UserError(
            f"data.pictures has no effect on {found.what}, which says itself where they are; leave it out"
        )
    names = found.names or _names_beside(root)
    if names is None and isinstance(options.classes, tuple):
        names = options.classes
    if not found.entries:
        raise UserError(
            f"{root} holds no YOLO set: looked for data.yaml, obj.data, and for pictures in images/, "
            f"{'/, '.join(SUBSETS[:3])}/ and in the folder itself"
        )
    if names is None:
        raise UserError(
            f"{root}: nothing names the classes; looked for data.yaml with names, obj.names, classes.txt and "
            "notes.json: write classes.txt with a name a line, that of class 0 first, or give "
            "data.classes=[…] in that order"
        )
    splits: dict[str, Callable[[], Layout]] = {
        name: partial(_read, root, places, names, found.keypoints) for name, places in found.entries.items()
    }
    return FoundSet(found.what, root, splits)


def _read(root: Path, places: Sequence[Path], names: Sequence[str], keypoints: bool) -> Layout:
    """A split of these folders and lists of pictures."""
    pictures = [file for place in places for file in _pictures_of(place, root)]
    folders = {folder: _label_folders(folder, root) for folder in {file.parent for file in pictures}}
    labelled = []
    for picture in dict.fromkeys(pictures):
        files = (folder / f"{picture.stem}.txt" for folder in folders[picture.parent])
        labelled.append(Labelled(picture, next(filter(os.path.isfile, files), None)))
    where = " ".join(map(str, places))
    if not labelled:
        raise UserError(f"{where} holds no pictures; expected those of a split")
    without = sum(labels is None for _, labels in labelled)
    if without == len(labelled):
        raise UserError(
            f"{where}: none of {plural(len(labelled), 'picture')} has labels; looked for that of "
            f"{labelled[0].picture} beside it, and in labels/ and Annotations/ in place of images/, as "
            f"{labelled[0].picture.stem}.txt"
        )
    if without:
        _log.info("%s: %d of %d pictures have no file of labels: no objects", where, without, len(labelled))
    content, problems = read_labels(labelled, names, root, keypoints=keypoints)
    return Layout(content, root, str(root), tuple(problems))


def _pictures_of(place: Path, root: Path) -> Iterator[Path]:
    """The pictures of a folder, by name, or those that a list names, in its order."""
    if place.is_dir():
        yield from pictures_below(place)
        return
    lines = read_text(place, "expected the path of a picture in each line").splitlines()
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and (file := _existing(line, [place.parent, root, Path(".")])) is None:
            raise UserError(
                f"{place} line {number}: {line}: no such picture, there or below {root}; unpack the pictures "
                "there, or correct the list"
            )
        if line and file is not None:
            yield file


def _existing(written: str, bases: Sequence[Path]) -> Path | None:
    """The file or folder that a path means here: below a base, perhaps without its first folders."""
    parts = [part for part in written.replace("\\", "/").split("/") if part not in ("", ".")]
    candidates = [base / written for base in bases]
    candidates += [base.joinpath(*parts[cut:]) for base in bases for cut in range(len(parts))]
    found = next((path for path in candidates if os.path.exists(path)), None)
    return None if found is None else Path(os.path.normpath(found))


def _label_folders(folder: Path, root: Path) -> list[Path]:
    """Where the labels of the pictures in a folder may lie, the likeliest place first."""
    parts, found = folder.parts, []
    for depth in range(len(parts) - 1, -1, -1):
        if parts[depth].lower() in _PICTURES:
            above = Path(*parts[:depth])
            labels = filter(None, (subfolder(above, name) for name in _LABELS))
            found += [path.joinpath(*parts[depth + 1 :]) for path in labels]
    below = subfolder(root, *_LABELS)  # of pictures that lie elsewhere
    return [*found, folder, *([below] if below is not None else [])]


def _folders(root: Path, pictures: Path | None) -> dict[str, list[Path]]:
    """The folders of pictures by split, of a set that says nothing of itself."""
    if pictures is not None:
        require_folder("data.pictures", pictures)
    lists = [root / f"{name}.txt" for name in SUBSETS]
    if pictures is None and any(_is_list(file) for file in lists):
        return {file.stem: [file] for file in lists if _is_list(file)}
    for top in filter(None, [pictures, subfolder(root, *_PICTURES), root]):
        children = [path for path in sorted(top.iterdir()) if path.is_dir() and not is_hidden(path)]
        named = {_DARKNET.get(path.name, path.name): path for path in children}
        splits = {name: [path] for name, path in named.items() if name.lower() in SUBSETS}
        found = {name: paths for name, paths in splits.items() if any(pictures_below(paths[0]))}
        if found:
            return found
        if any(pictures_below(top)):
            return {"all": [top]}
    return {}


def _is_list(file: Path) -> bool:
    """Whether a text file names pictures."""
    if not file.is_file():
        return False
    lines = read_text(file, "expected the path of a picture in each line").split("\n", 1)
    return is_picture(Path(lines[0].strip()))


def _data_yaml(root: Path) -> Path | None:
    """The description of a set, data.yaml if there are several."""
    files = sorted((*root.glob("*.yaml"), *root.glob("*.yml")))
    files.sort(key=lambda file: file.stem not in ("data", "dataset"))
    return next((f for f in files if "names" in (content := _yaml(f)) and {*SUBSETS} & {*content}), None)


def _yaml(file: Path) -> dict[str, Any]:
    with readable(file, "expected a data.yaml with train, val and names"):
        content = read_yaml(file.read_text(encoding="utf-8-sig"))
    return content if isinstance(content, dict) else {}


def _read_data_yaml(file: Path) -> _Description:
    content = _yaml(file)
    names = _names_of_yaml(content.get("names"), file)
    count = content.get("nc", len(names))
    if count != len(names):
        raise UserError(f"{file}: nc is {count!r}, but names has {len(names)}; correct one of them")
    bases = [file.parent]
    if path := content.get("path"):
        bases = [file.parent / str(path), Path(str(path)), file.parent]
    entries = {}
    for split in SUBSETS:
        written = content.get(split)
        texts = [str(text) for text in (written if isinstance(written, list) else [written]) if text]
        places = [(text, place) for text in texts if (place := _place(text, bases)) is not None]
        for text in set(texts) - {text for text, _ in places}:
            _log.warning("%s: %s: %s does not exist and is left out", file, split, text)
        for text, place in places:
            if os.path.normpath(bases[0] / text) != str(place):
                _log.info("%s: %s: %s was found at %s", file, split, text, place)
        if places:
            entries[split] = [place for _, place in places]
    if not entries:
        raise UserError(f"{file}: none of the folders that it names as train, val or test exists")
    return _Description(f"YOLO with {file.name}", names, entries, "kpt_shape" in content)


def _place(written: str, bases: Sequence[Path]) -> Path | None:
    """The folder or list that a data.yaml means; Roboflow writes valid where the folder is val."""
    parts = written.split("/")
    places = [place for place, part in enumerate(parts) if part in ROLES["val"]]
    swapped = [
        "/".join([*parts[:place], name, *parts[place + 1 :]]) for place in places for name in ROLES["val"]
    ]
    for text in (written, *swapped):
        found = _existing(text, bases)
        splits = {part for part in text.split("/") if part in SUBSETS}
        # Without its first folders, "../val/images" is the folder of all splits.
        if found is not None and splits <= set(found.parts):
            return found
    return None


def _names_of_yaml(names: Any, file: Path) -> tuple[str, ...]:
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise UserError(f"{file}: names is {names!r}, expected a list of names or a name for each of 0, 1, …")
    return tuple(map(str, names))


def _read_obj_data(file: Path) -> _Description:
    """Darknet's description: lines `key = value`, whose paths begin with data/ wherever they lie."""
    lines = read_text(file, "expected lines such as train = data/train.txt").splitlines()
    pairs = [line.partition("=") for line in lines]
    values = {key.strip(): value.strip() for key, equals, value in pairs if equals}
    places = {
        "val" if key == "valid" else key: place
        for key in ("train", "valid", "test")
        if (place := _existing(values.get(key, "none"), [file.parent])) is not None
    }
    if not places:
        raise UserError(
            f"{file}: expected train = LIST.txt of a list that exists, got {values.get('train')!r}"
        )
    named = _existing(values.get("names", "obj.names"), [file.parent])
    entries = {split: [place] for split, place in places.items()}
    return _Description("YOLO with obj.data", _lines(named) if named else None, entries)


def _names_beside(root: Path) -> tuple[str, ...] | None:
    """The names that lie in the root, or beside the labels."""
    labels = subfolder(root, *_LABELS)
    for folder in filter(None, (root, labels, root / "data")):
        for file in (folder / "obj.names", folder / "classes.txt", *sorted(folder.glob("*.names"))):
            if file.is_file():
                return _lines(file)
        notes = folder / "notes.json"
        if notes.is_file():
            with readable(notes, "expected Label Studio's categories with id and name"):
                entries = json.loads(notes.read_bytes())["categories"]
                return tuple(str(e["name"]) for e in sorted(entries, key=lambda entry: entry["id"]))
    return None


def _lines(file: Path) -> tuple[str, ...]:
    lines = read_text(file, "expected the name of a class in each line").splitlines()
    return tuple(line.strip() for line in lines if line.strip())
