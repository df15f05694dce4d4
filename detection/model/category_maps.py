"""Which class of a detector's file is which class of the data set: `model.category_map`."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from foundation.errors import UserError, check_choice, suggest
from pictures.annotations.voc_classes import COCO_NAMES

# Maps with a name: of each class of the data set, what the file calls it.
CATEGORY_MAPS = {"coco_to_voc": COCO_NAMES}

CategoryMap = str | Mapping[str, str]
Given = TypeVar("Given")


def check_map_name(category_map: Given) -> Given:
    """The same, where it is no text or the name of a map; else an OptionError with the closest name."""
    if isinstance(category_map, str):
        check_choice("map", category_map, CATEGORY_MAPS)
    return category_map


def names_in_file(
    category_map: CategoryMap | None, classes: Sequence[str], theirs: Sequence[str], file: str
) -> list[str]:
    """What the detector to start from calls the classes of a data set; without a map, the same.

    Args:
        category_map: from names of the data set to those of the file, or the name of one of `CATEGORY_MAPS`.
        classes: of the data set.
        theirs: of the file.
        file: named in errors.
    Raises:
        UserError: the map leaves a class of the data set out, or names one that the data set or the file has
            not; all of them are listed, each with the closest name.
    """
    if category_map is None:
        return list(classes)
    names = CATEGORY_MAPS[category_map] if isinstance(category_map, str) else category_map
    problems = [
        f"{name!r} is no class of the data set{suggest(name, classes)}"
        for name in names
        if name not in classes
    ]
    if missing := [repr(name) for name in classes if name not in names]:
        problems.append(f"left out: {', '.join(missing)}")
    problems += [
        f"{name!r}: {other!r} is no class of {file}{suggest(other, theirs)}"
        for name, other in names.items()
        if other not in theirs
    ]
    if problems:
        said = f"={category_map}" if isinstance(category_map, str) else ""
        title = f"model.category_map{said} must give each class of the data set one of model.weights:"
        raise UserError("\n  ".join([title, *problems]))
    return [names[name] for name in classes]
