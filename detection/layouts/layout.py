"""What a reader of a layout gives: the splits that a folder holds, each as the content of a COCO file.

A reader is a function (root, options) that finds a set in a folder and gives a `FoundSet`, or raises a
UserError that says what it looked for. `read_split` then reads one split, and divides a set that has only
one.
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from detection.data.annotations import Problem
from detection.data.coco_dataset import CocoDataset
from foundation.errors import UserError, suggest
from pictures.annotations.coco_checks import check_coco, section_of, with_annotations, with_sizes

_log = logging.getLogger(__name__)

# What the two parts of a training are called in configurations, and in the layouts of others.
ROLES = {
    "train": ("train", "training", "trainval", "default", "all"),
    "val": ("val", "valid", "validation"),
}


@dataclass(frozen=True)
class SetOptions:
    """What a configuration says of a set besides its folder; see `DataConfig`."""

    train: str = "train"
    val: str = "val"
    pictures: Path | None = None
    classes: Literal["auto"] | tuple[str, ...] | None = None
    val_share: float = 0.2
    split_seed: int = 0
    train_per_class: int | None = None


@dataclass(frozen=True)
class Layout:
    """One split as it was read.

    Attributes:
        content: of a COCO file: images, categories and annotations. Ids of annotations may be text that says
            where the object stands.
        pictures: the folder to which the `file_name`s are relative.
        source: the file or folder that errors name.
        problems: of the user's own files, which keep the split from being used.
    """

    content: dict[str, Any]
    pictures: Path
    source: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class FoundSet:
    """A set below its root.

    Attributes:
        what: the layout in words, for the log.
        splits: reads each split, by the name that it has in the set. One that is not divided is called "all".
    """

    what: str
    root: Path
    splits: Mapping[str, Callable[[], Layout]]

    def name_of(self, split: str) -> str | None:
        """What the set calls a split: the same, one of its `ROLES`, or for "train" the only one there is."""
        if split in self.splits:
            return split
        names = {name.lower(): name for name in self.splits}
        found = [names[role] for role in ROLES.get(split, ()) if role in names]
        if not found and split == "train" and len(self.splits) == 1:
            return next(iter(self.splits))
        return found[0] if found else None


def read_split(found: FoundSet, split: str, options: SetOptions) -> Layout:
    """One split of a set.

    Where the set has no split to validate on, and the configuration names none, its training pictures are
    divided by `options.split_seed`.

    Raises:
        UserError: the set has no such split, or a label is not among `options.classes`.
    """
    training = found.name_of(options.train)
    divided = options.val == "val" and found.name_of("val") is None and training is not None
    name = training if divided and split == "val" else found.name_of(split)
    if name is None:
        raise UserError(f"{found.root} ({found.what}) has no split {split!r}{suggest(split, found.splits)}")
    layout = found.splits[name]()
    if isinstance(options.classes, tuple):
        layout = choose_classes(checked(layout), options.classes)
    _log.info("%s: %s, split %s", found.root, found.what, name)
    return _part(checked(layout), split == "val", options) if divided and name == training else layout


def checked(layout: Layout) -> Layout:
    """The layout with its pictures' sizes, nothing of which is at fault; UserError of what is first."""
    for problem in layout.problems:
        raise problem.error(layout.source)
    if isinstance(layout.content, dict) and "annotations" not in layout.content:
        raise UserError(f"{layout.source} has no annotations, so that nothing can be trained or scored on it")
    content = with_annotations(layout.content, layout.source)
    content = with_sizes(content, layout.pictures, layout.source)
    check_coco(content, layout.source)
    return replace(layout, content=content)


def _part(layout: Layout, validation: bool, options: SetOptions) -> Layout:
    """The training or validation part of pictures that are not divided."""
    names = [image["file_name"] for image in layout.content["images"]]
    if len(names) < 2:
        _log.warning("%s holds %d picture: it is trained and validated on", layout.source, len(names))
        return layout
    held_out = draw(names, options.val_share, options.split_seed)
    if not validation:
        _log.info(
            "%s has no split to validate on: of its %d pictures %d train and %d validate, drawn by "
            "data.split_seed=%d with data.val_share=%g; data.val names a split instead",
            *(layout.source, len(names), len(names) - len(held_out), len(held_out)),
            *(options.split_seed, options.val_share),
        )
    return replace(layout, content=_of_pictures(layout.content, held_out, inside=validation))


def draw(names: Sequence[str], share: float, seed: int) -> set[str]:
    """A share of different names, at least one and never all, the same on every machine.

    A name's place depends on itself and the seed alone, so that few change sides when pictures are added.
    """
    places = sorted(set(names), key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    return set(places[: min(max(round(share * len(places)), 1), len(places) - 1)])


def _of_pictures(content: dict[str, Any], names: set[str], *, inside: bool) -> dict[str, Any]:
    """The content of the pictures whose names are inside, or are not."""
    images = [image for image in content["images"] if (image["file_name"] in names) == inside]
    ids = {image["id"] for image in images}
    kept = [entry for entry in content["annotations"] if entry["image_id"] in ids]
    return {**content, "images": images, "annotations": kept}


def told_apart(layouts: Sequence[Layout], root: Path) -> list[Layout]:
    """Layouts to be joined; pictures are called by their files below `root` where two have the same number.

    Many programs number the pictures of every split anew. A picture that is in two splits stays so.
    """
    numbers = Counter(number for layout in layouts for number in _numbered(layout))
    if not any(count > 1 for count in numbers.values()):
        return list(layouts)
    return [_called_by_file(layout, root) for layout in layouts]


def _numbered(layout: Layout) -> dict[int, str]:
    """File names by number; entries of another form are left to `check_coco`."""
    images = (image for image in section_of(layout.content, "images") if isinstance(image, dict))
    pairs = ((image.get("id"), image.get("file_name")) for image in images)
    return {number: name for number, name in pairs if isinstance(number, int) and isinstance(name, str)}


def _called_by_file(layout: Layout, root: Path) -> Layout:
    ids = {
        number: Path(os.path.relpath(layout.pictures / name, root)).as_posix()
        for number, name in _numbered(layout).items()
    }

    if not ids:
        return layout

    def renamed(section: str, key: str) -> list[Any]:
        entries = section_of(layout.content, section)
        is_known = [isinstance(e, dict) and isinstance(e.get(key), int) and e[key] in ids for e in entries]
        return [{**e, key: ids[e[key]]} if known else e for e, known in zip(entries, is_known, strict=True)]

    content = {**layout.content, "images": renamed("images", "id")}
    if "annotations" in content:
        content["annotations"] = renamed("annotations", "image_id")
    return replace(layout, content=content)


def choose_classes(layout: Layout, classes: tuple[str, ...]) -> Layout:
    """The layout with these classes in this order; every other label that occurs is refused."""
    names = {category["id"]: category["name"] for category in layout.content["categories"]}
    for entry in layout.content["annotations"]:
        if (name := names[entry["category_id"]]) not in classes:
            raise UserError(
                f"{layout.source}: annotation {entry['id']}: label {name!r} is not in data.classes="
                f"[{', '.join(classes)}]; add it there, or leave data.classes out to take all that occur"
            )
    ids = {name: number for number, name in enumerate(classes, start=1)}
    content = {
        **layout.content,
        "categories": categories(classes),
        "annotations": [
            {**entry, "category_id": ids[names[entry["category_id"]]]}
            for entry in layout.content["annotations"]
        ],
    }
    return replace(layout, content=content)


def categories(classes: Sequence[str]) -> list[dict[str, Any]]:
    """The section of a COCO file for classes with the ids 1…K."""
    return [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]


def open_layout(layout: Layout, *, masks: bool) -> CocoDataset:
    """A split as a data set; UserError of the first of its problems."""
    for problem in layout.problems:
        raise problem.error(layout.source)
    return CocoDataset(layout.source, layout.pictures, masks=masks, content=layout.content)
