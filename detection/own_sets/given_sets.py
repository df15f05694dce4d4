"""Sets as command lines name them: KIND:ROOT[:SPLIT] in any layout, and splits as of `parse_split`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detection.data.annotation_writers import coco_annotation, coco_content, coco_image
from detection.data.dataset_splits import parse_split
from detection.data.voc_dataset import VocDataset, VocSplit
from detection.layouts.layout import Layout, SetOptions, read_split
from detection.own_sets.dataset_kinds import DATASETS
from detection.own_sets.set_writers import write_coco, write_yolo
from foundation.errors import UserError
from pictures.annotations.coco_checks import read_coco
from pictures.annotations.coco_split import CocoSplit, coco_split_name


class GivenSplit(NamedTuple):
    """A split of a set: what messages call it, its own name, its layout in words, and what was read."""

    text: str
    name: str
    what: str
    layout: Layout


class GivenSet(NamedTuple):
    """What KIND:ROOT[:SPLIT] says; a split may have colons of its own, as 2007:train, and "" is none."""

    kind: str
    root: str
    split: str


def parse_given(text: str) -> GivenSet | None:
    """The parts of KIND:ROOT[:SPLIT]; None of a text of another form.

    "coco:FILE.json" and "voc:DEVKIT/VOC2007:trainval" are of another form: nothing needs to be looked for.
    """
    kind, _, rest = text.partition(":")
    if kind not in DATASETS or not rest:
        return None
    parts = rest.split(":")
    roots = [":".join(parts[:count]) for count in range(len(parts), 0, -1)]
    root = next(filter(os.path.exists, roots), roots[min(1, len(roots) - 1)])
    if kind in ("coco", "voc") and (not Path(root).is_dir() or isinstance(parse_split(text), VocSplit)):
        return None
    return GivenSet(kind, root, rest[len(root) + 1 :])


def find_given(text: str) -> list[GivenSplit] | None:
    """The splits of KIND:ROOT, or what validates with data.val=SPLIT of KIND:ROOT:SPLIT.

    There are none of other texts, nor of kinds that have no layout of other programs.

    Raises:
        UserError: there is no such set or split.
    """
    given = parse_given(text)
    find = given and DATASETS[given.kind].find
    if given is None or find is None:
        return None
    kind, root, split = given
    options = SetOptions(val=split or SetOptions.val)
    found = find(Path(root), options)
    if split:
        return [GivenSplit(text, split, found.what, read_split(found, split, options))]
    return [GivenSplit(f"{kind}:{root}:{n}", n, found.what, read()) for n, read in found.splits.items()]


def read_given(text: str) -> list[GivenSplit]:
    """As `find_given`, with the splits of `parse_split` read as layouts, too; UserError of other texts."""
    if (found := find_given(text)) is not None:
        return found
    files = parse_split(text)
    if files is None:
        raise UserError(f"{text!r} is no set of boxes; expected KIND:ROOT[:SPLIT], KIND of coco, voc, yolo …")
    if isinstance(files, CocoSplit):
        layout = Layout(read_coco(*files), files.pictures, str(files.annotation_file))
        return [GivenSplit(text, coco_split_name(files.annotation_file), "COCO", layout)]
    return [GivenSplit(text, files.name, "VOC's devkit", _devkit_layout(files))]


def _devkit_layout(files: VocSplit) -> Layout:
    """A split of the devkit; difficult objects become crowds, which are not scored either."""
    dataset = VocDataset(files.folder.parent, [(files.year, files.name)])
    if not dataset.has_truth:
        raise UserError(f"{files} has no annotations that could be written")
    folder = files.folder / "JPEGImages"
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, target in enumerate(dataset.targets):
        name = dataset.image_path(index).relative_to(folder).as_posix()
        images.append(coco_image(name, name, target.size))
        rows = zip(target.boxes.tolist(), target.labels.tolist(), target.ignore.tolist(), strict=True)
        annotations += [
            coco_annotation(len(annotations) + place, name, label, box, crowd=ignore)
            for place, (box, label, ignore) in enumerate(rows, start=1)
        ]
    return Layout(
        coco_content(images, dataset.classes, dataset.category_ids, annotations), folder, str(files)
    )


def write_sets(texts: Sequence[str], coco: Path | None, yolo: Path | None) -> list[str]:
    """Writes sets of `read_given` as COCO and as YOLO, where a place is given; says what was written."""
    if coco is None and yolo is None:
        return []
    given = [split for text in texts for split in read_given(text)]
    lines = []
    if coco is not None:
        if len(given) != 1:
            named = ", ".join(split.text for split in given) or "a configuration"
            raise UserError(f"--write-coco writes one split to a file, got {named}; name one of them")
        lines.append(write_coco(given[0].layout, coco))
    if yolo is not None:
        lines += write_yolo(_by_role(given), yolo)
    return lines


def _by_role(given: Sequence[GivenSplit]) -> dict[str, Layout]:
    """The splits as data.yaml calls them; a split with another name is one to train on."""
    splits: dict[str, GivenSplit] = {}
    for split in given:
        name = split.name.lower()
        role = next((role for role in ("val", "test") if role in name and "trainval" not in name), "train")
        if role in splits:
            raise UserError(f"{splits[role].text} and {split.text} would both be written as {role}; name one")
        splits[role] = split
    if not splits:
        raise UserError("--write-yolo writes the sets named before it, got none")
    return {role: split.layout for role, split in splits.items()}
