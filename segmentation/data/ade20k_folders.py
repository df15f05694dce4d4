"""ADE20K as the scene parsing benchmark's ADEChallengeData2016 unpacks (Zhou et al. 2017).

images/{training,validation}/*.jpg, annotations/{training,validation}/*.png and objectInfo150.txt. Index 0 is
everything outside the 150 classes and is ignored, so that indices 1…150 are classes 0…149.
"""

from pathlib import Path

from foundation.errors import UserError
from foundation.file_reading import read_text
from pictures.annotations.voc_classes import CLASSES_FILE
from segmentation.data.label_maps import check_classes, read_classes
from segmentation.data.mask_dataset import MaskDataset, pictures_by_stem

OBJECTS_FILE = "objectInfo150.txt"
_ROOT = (
    "get ADEChallengeData2016.zip from https://sceneparsing.csail.mit.edu and name its folder as data.root"
)


def open_ade20k(root: Path, split: str) -> MaskDataset:
    """A split, "training" or "validation"; without a folder of annotations it has no truth.

    Classes are those of objectInfo150.txt, or of classes.txt, one a line, in a set of somebody's own.

    Raises:
        UserError: folders are missing, or pictures and label maps are not of the same names.
    """
    _refuse_full(root, split)
    pictures = pictures_by_stem(root / "images" / split, f"expected ADE20K's pictures there: {_ROOT}")
    folder = root / "annotations" / split
    masks = [folder / f"{stem}.png" for stem in pictures] if folder.is_dir() else None
    return MaskDataset(list(pictures.values()), masks, _classes(root), ids=list(pictures), first=1)


def _refuse_full(root: Path, split: str) -> None:
    """The whole ADE20K keeps classes and instances in the colours of *_seg.png: another format."""
    if not (root / "images").is_dir() and (root / split).is_dir():
        full = next((root / split).rglob("*_seg.png"), None)
        if full is not None:
            raise UserError(
                f"{full}: this is the layout of the whole ADE20K, whose *_seg.png write classes as colours; "
                f"expected images/{split} and annotations/{split} of the scene parsing benchmark: {_ROOT}"
            )


def _classes(root: Path) -> list[str]:
    if (root / CLASSES_FILE).is_file():
        return read_classes(root / CLASSES_FILE)
    file = root / OBJECTS_FILE
    lines = read_text(
        file, f"expected the names of the classes: {_ROOT}, or write {CLASSES_FILE}"
    ).splitlines()
    rows = [line.split("\t") for line in lines[1:] if line.strip()]
    # The columns are Idx, Ratio, Train, Val, Stuff and Name; the first of several synonyms names the class.
    return check_classes([row[-1].split(",")[0].strip() for row in rows], file)
