"""Sets as command lines name them: KIND:ROOT[:SPLIT] in any layout, and splits as of `parse_split`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detection.data.annotation_writers import coco_annotation, coco_content, coco_image
from detection.data.coco_checks import read_coco
from detection.data.coco_dataset import CocoSplit, coco_split_name
from detection.data.dataset_splits import DATASETS, parse_split
from detection.data.voc_dataset import VocDataset, VocSplit
from detection.layouts.layout import Layout, SetOptions
from detection.own_sets.set_writers import write_coco, write_yolo
from foundation.errors import UserError, suggest


class GivenSplit(NamedTuple):
    """A split of a set: what messages call it, its own name, its layout in words, and what was read."""

    text: str
    name: str
    what: str
    layout: Layout


def find_given(text: str) -> list[GivenSplit] | None:
    """The splits of KIND:ROOT, or the one of KIND:ROOT:SPLIT; None of a text of another form.

    "coco:FILE.json" and "voc:DEVKIT/VOC2007:trainval" are of another form: nothing needs to be looked for.

    Raises:
        UserError: there is no such set or split.
    """
    kind, separator, rest = text.partition(":")
    find = DATASETS[kind].find if kind in DATASETS else None
    of_files = kind in ("coco", "voc") and not Path(rest.partition(":")[0]).is_dir()
    if find is None or not separator or not rest or of_files or isinstance(parse_split(text), VocSplit):
        return None
    folder, _, split = (rest, "", "") if Path(rest).exists() else rest.rpartition(":")
    found = find(Path(folder or rest), SetOptions())
    names = [split] if folder and split else list(found.splits)
    for unknown in set(names) - set(found.splits):
        raise UserError(f"{folder} ({found.what}) has no split {unknown!r}{suggest(unknown, found.splits)}")
    return [GivenSplit(f"{kind}:{folder}:{n}", n, found.what, found.splits[n]()) for n in names]


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
