"""What the lists and the development kit of a challenge say of the pictures of a split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from detection.data.annotations import Problem
from detection.imagenet.devkit_rows import read_names, read_rows, whole_number
from detection.imagenet.ilsvrc_places import IlsvrcPlaces, part_of
from detection.imagenet.synsets import Synset, labels_of


@dataclass(frozen=True)
class TrainSample:
    """How many positive pictures of each class DET's "train" is made of, and the seed that draws them."""

    per_class: int
    seed: int


@dataclass
class SplitLists:
    """What is known of a split's pictures without their annotations.

    Attributes:
        image_ids: their names, in the order of the list.
        labels: CLS-LOC: the label of each picture, where it is known.
        void: DET: the labels that the blacklist leaves out of the scores of a picture.
        left_out: CLS-LOC: the pictures on the blacklist.
        problems: all for which the loader refuses the files.
    """

    image_ids: list[str] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    void: dict[str, frozenset[int]] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    problems: list[Problem] = field(default_factory=list)


def read_det_lists(
    places: IlsvrcPlaces, split: str, synsets: Sequence[Synset], sample: TrainSample | None
) -> SplitLists:
    """A split of DET; `synsets` are in the order of the labels, which is that of the devkit's numbers."""
    lists = SplitLists()
    if split == "train":
        lists.image_ids = _positives(places, synsets, sample, lists.problems)
        return lists
    rows = read_names(places.list_file(split), '"<picture> <number>"', lists.problems)
    lists.image_ids = [row.columns[0] for row in rows]
    if part_of(split) == "val" and synsets:
        lists.void = _blacklisted_pairs(places, labels_of(synsets), lists)
    return lists


def _positives(
    places: IlsvrcPlaces, synsets: Sequence[Synset], sample: TrainSample | None, problems: list[Problem]
) -> list[str]:
    """The pictures in which all objects of some class are annotated and there are any, each once.

    The lists give 1 for these, 0 where only some objects of the class are annotated, −1 where there is none.
    """
    listed: list[str] = []
    for synset in synsets:
        file = places.lists / f"train_{synset.number}.txt"
        names = []
        for where, columns in read_names(file, '"<picture> <1, 0 or -1>"', problems):
            if len(columns) < 2 or columns[1] not in ("1", "0", "-1"):
                text = f"{' '.join(columns)!r} is not a picture and 1, 0 or -1; correct the line"
                problems.append(Problem("malformed_entry", where, text))
            elif columns[1] == "1":
                names.append(columns[0])
        if sample is not None and len(names) > sample.per_class:
            rng = np.random.default_rng([sample.seed, synset.number])
            drawn = rng.choice(len(names), sample.per_class, replace=False)
            names = [names[index] for index in sorted(drawn.tolist())]
        listed += names
    return list(dict.fromkeys(listed))


def _blacklisted_pairs(
    places: IlsvrcPlaces, labels: Mapping[str, int], lists: SplitLists
) -> dict[str, frozenset[int]]:
    """The labels left out of each of the split's pictures.

    The blacklist calls the pictures by their numbers in val.txt, whichever list the split is.
    """
    numbered = _numbered_val(places, lists.problems)
    rows = read_rows(
        places.devkit_file("blacklist"), '"<number in val.txt> <WordNet id>"', (2,), lists.problems
    )
    void: dict[str, set[int]] = {}
    for where, (text, wnid) in rows:
        number = whole_number(text)
        if number not in numbered:
            fault = f"{text!r} is the number of no picture in {places.list_file('val')}; correct the line"
            lists.problems.append(Problem("unknown_image", where, fault))
        elif wnid not in labels:
            fault = f"{wnid!r} is not among the classes of {places.synsets}; correct the line"
            lists.problems.append(Problem("unknown_category", where, fault))
        else:
            void.setdefault(numbered[number], set()).add(labels[wnid])
    listed = set(lists.image_ids)
    return {name: frozenset(found) for name, found in void.items() if name in listed}


def _numbered_val(places: IlsvrcPlaces, problems: list[Problem]) -> dict[int | None, str]:
    """The pictures of val.txt by their numbers there, or by their lines where it has none."""
    numbered: dict[int | None, str] = {}
    for line, row in enumerate(
        read_names(places.list_file("val"), '"<picture> <number>"', problems), start=1
    ):
        number = whole_number(row.columns[1]) if len(row.columns) > 1 else line
        if not number or number in numbered:
            text = f"{' '.join(row.columns)!r}: expected a number for each picture, each once"
            problems.append(Problem("malformed_entry", row.where, text))
        else:
            numbered[number] = row.columns[0]
    return numbered


def read_loc_lists(places: IlsvrcPlaces, split: str, synsets: Sequence[Synset]) -> SplitLists:
    """A split of CLS-LOC; `synsets` are in the order of the labels, which is that of the WordNet ids."""
    lists = SplitLists()
    rows = read_names(places.list_file(split), '"<picture> <number>"', lists.problems)
    lists.image_ids = [row.columns[0] for row in rows]
    if not synsets:  # which is a problem of its own
        return lists
    if part_of(split) == "train":
        lists.labels = _labels_of_folders(places, lists, labels_of(synsets))
    elif part_of(split) == "val":
        _read_val(places, synsets, lists)
    return lists


def _labels_of_folders(places: IlsvrcPlaces, lists: SplitLists, labels: Mapping[str, int]) -> dict[str, int]:
    """The labels of training pictures, which lie in folders called by the WordNet ids of their classes."""
    folders = {name: name.partition("/")[0] for name in lists.image_ids}
    lists.problems += [
        Problem("unknown_category", str(places.list_file("train")), f"{wnid!r} is not in {places.synsets}")
        for wnid in sorted(set(folders.values()) - set(labels))
    ]
    return {name: labels[wnid] for name, wnid in folders.items() if wnid in labels}


def _read_val(places: IlsvrcPlaces, synsets: Sequence[Synset], lists: SplitLists) -> None:
    """Enters the labels and the blacklist of val, which count its pictures in the order of their names."""
    problems = lists.problems
    pictures = sorted(row.columns[0] for row in read_names(places.list_file("val"), '"<picture>"', problems))
    label_of = {synset.number: label for label, synset in enumerate(synsets, start=1)}
    truth = places.devkit_file("ground_truth")
    rows = read_rows(truth, '"<number of a class>"', (1,), problems)
    if rows and len(rows) != len(pictures):
        text = f"{len(rows)} lines for the {len(pictures)} pictures of {places.list_file('val')}"
        problems.append(Problem("malformed_entry", str(truth), f"{text}; expected one for each"))
        rows = []
    known: dict[str, int] = {}
    for name, (where, (text,)) in zip(pictures, rows, strict=bool(rows)):
        number = whole_number(text)
        if number in label_of:
            known[name] = label_of[number]
        else:
            fault = f"{text!r} is the number of no class in {places.synsets}; correct the line"
            problems.append(Problem("unknown_category", where, fault))
    lists.labels = {name: known[name] for name in lists.image_ids if name in known}
    left_out = set()
    for where, (text,) in read_rows(places.devkit_file("blacklist"), '"<number>"', (1,), problems):
        number = whole_number(text)
        if number and number <= len(pictures):
            left_out.add(pictures[number - 1])
        else:
            fault = f"{text!r} is the number of no picture of val, of which there are {len(pictures)}"
            problems.append(Problem("unknown_image", where, f"{fault}; correct the line"))
    lists.left_out = frozenset(left_out & set(lists.image_ids))
