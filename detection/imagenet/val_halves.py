"""DET's val divided in two: halves of our own, of the kind that Girshick et al. 2014 made, but not theirs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from detection.imagenet.ilsvrc_places import IlsvrcPlaces
from detection.imagenet.ilsvrc_split import IlsvrcSplit
from foundation.atomic_files import write_text
from foundation.errors import UserError, plural

HALVES = ("our_val1", "our_val2")  # other names than val1 and val2, whose figures these are not


def write_halves(root: Path) -> list[str]:
    """Writes ImageSets/DET/our_val1.txt and our_val2.txt; the same val gives the same halves.

    Returns:
        What was written, in lines to print: how many pictures, and how far the classes are from balanced.
    Raises:
        UserError: a half exists, or val cannot be read.
    """
    places = IlsvrcPlaces(root, "DET")
    split = IlsvrcSplit(places, "val")
    for problem in split.problems():
        raise problem.error("")
    files = [places.list_file(name) for name in HALVES]
    for file in files:
        if file.exists():
            raise UserError(f"{file} exists, and is not overwritten; remove it to divide val anew")
    shown = {}
    for image_id in split.image_ids():
        read = split.read(image_id, split.names())
        for problem in read.problems:
            raise problem.error(split.annotation_file(image_id))
        shown[image_id] = {found.label for found in read.objects}
    half_of = halve(shown)
    lines = []
    for half, file in enumerate(files):
        names = [name for name in shown if half_of[name] == half]
        write_text(file, "".join(f"{name}\n" for name in names))
        lines.append(f"{file}: {plural(len(names), 'picture')}")
    return [
        *lines,
        f"{_least_balanced(shown, half_of, split.classes())}; these are not Girshick's val1 and val2",
    ]


def _least_balanced(shown: Mapping[str, set[int]], half_of: Mapping[str, int], classes: Sequence[str]) -> str:
    """How many pictures of each half show the class whose numbers differ most, relative to their sum."""
    counts = np.zeros((2, len(classes)))
    for name, labels in shown.items():
        for label in labels:
            counts[half_of[name], label - 1] += 1
    away = np.abs(counts[0] - counts[1]) / np.maximum(1, counts.sum(axis=0))
    worst = int(away.argmax())
    one, other = counts[:, worst].astype(int).tolist()
    return f"least balanced are {one} and {other} pictures of {classes[worst]}"


def halve(shown: Mapping[str, set[int]]) -> dict[str, int]:
    """The half, 0 or 1, of every picture, by the labels that it shows.

    Pictures with the rarest classes are placed first, each where its classes are scarcer: what counts is the
    difference of the halves in a class as a share of all pictures that show it.
    """
    pictures = Counter(label for labels in shown.values() for label in labels)
    half_of: dict[str, int] = {}
    counts, sizes = (Counter[int](), Counter[int]()), [0, 0]

    def rarity(name: str) -> tuple[int, str]:
        return min((pictures[label] for label in shown[name]), default=len(shown) + 1), name

    def excess(half: int, name: str) -> float:
        ours, theirs = counts[half], counts[1 - half]
        return sum((ours[label] - theirs[label]) / pictures[label] for label in sorted(shown[name]))

    for name in sorted(shown, key=rarity):
        first, second = excess(0, name), excess(1, name)
        half = int(second < first) if first != second else int(sizes[1] < sizes[0])
        half_of[name] = half
        counts[half].update(shown[name])
        sizes[half] += 1
    return half_of
