"""Where the annotations and the pictures of a split in COCO's layout lie."""

import re
from pathlib import Path
from typing import NamedTuple


class CocoSplit(NamedTuple):
    """The files of one split: annotations, and the folder to which their `file_name`s are relative."""

    annotation_file: Path
    pictures: Path


def coco_split(root: Path, split: str) -> CocoSplit:
    """Where a split lies below COCO's root.

    annotations/instances_SPLIT.json and SPLIT/, but of COCO's test sets annotations/image_info_SPLIT.json;
    minival2014 and valminusminival2014 are parts of val2014, test-dev2017 is one of test2017. Sets that keep
    the pictures of all splits together have them in images/.
    """
    kind = "image_info" if re.fullmatch(r"test(-dev)?20\d\d", split) else "instances"
    return CocoSplit(root / "annotations" / f"{kind}_{split}.json", _pictures(root, split))


def coco_split_of_file(file: Path) -> CocoSplit:
    """The split of an annotation file such as coco/annotations/instances_val2017.json."""
    return CocoSplit(file, _pictures(file.parent.parent, coco_split_name(file)))


def coco_split_name(file: Path) -> str:
    """The name of the split whose annotation file this is: of instances_val2017.json "val2017"."""
    return file.stem.removeprefix("instances_").removeprefix("image_info_")


def _pictures(root: Path, split: str) -> Path:
    folder = root / re.sub(r"^(valminusmini|mini)val(?=20)", "val", split).replace("test-dev", "test")
    return root / "images" if not folder.is_dir() and (root / "images").is_dir() else folder
