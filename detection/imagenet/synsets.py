"""The classes of a challenge: WordNet ids, the devkit's numbers for them, and their names."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from detection.data.annotations import Problem
from detection.imagenet.devkit_rows import read_rows, whole_number


class Synset(NamedTuple):
    """A class: its WordNet id, such as "n02672831", its number in the devkit, from 1, and its name."""

    wnid: str
    number: int
    name: str


def read_synsets(file: Path, problems: list[Problem]) -> list[Synset]:
    """The classes of map_det.txt or map_clsloc.txt in the order of their numbers.

    Args:
        problems: all that is wrong with the file is added to it: numbers and ids must stand once, and the
            numbers run from 1 without a gap, because lists and ground truth call the classes by them.
    """
    found: dict[int, Synset] = {}
    wnids: set[str] = set()
    before = len(problems)
    for where, (wnid, text, name) in read_rows(file, '"<WordNet id> <number> <name>"', (3,), problems):
        number = whole_number(text)
        if not number:
            fault = f"{text!r} is no number of a class; expected 1 or more"
        elif number in found:
            fault = f"number {number} is already that of {found[number].wnid}; expected each once"
        elif wnid in wnids:
            fault = f"{wnid} stands a second time; expected each class once"
        else:
            found[number] = Synset(wnid, number, name)
            wnids.add(wnid)
            continue
        problems.append(Problem("duplicate_category_id" if number else "malformed_entry", where, fault))
    absent = next(number for number in range(1, len(found) + 2) if number not in found)
    if len(problems) == before and absent <= max(found, default=1):
        text = f"class {absent} is missing; expected the numbers from 1, each once"
        problems.append(Problem("malformed_entry", str(file), text))
    return [found[number] for number in sorted(found)]


def labels_of(synsets: Sequence[Synset]) -> dict[str, int]:
    """The label, from 1, of every WordNet id, for classes in the order of the labels."""
    return {synset.wnid: label for label, synset in enumerate(synsets, start=1)}
