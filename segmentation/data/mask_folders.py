"""Folders of pictures and label maps of one's own: images/, masks/ with equal names, classes.txt."""

from pathlib import Path

from foundation.errors import UserError
from foundation.file_reading import read_text
from pictures.annotations.voc_classes import CLASSES_FILE
from segmentation.data.label_maps import read_classes
from segmentation.data.mask_dataset import MaskDataset, pictures_by_stem

ALL = "all"  # the split of an undivided set
_LAYOUT = (
    "expected classes.txt, with one name a line, and images/ and masks/ with a PNG for every picture of the "
    "same name; splits are images/<split> and masks/<split>, or <split>/images and <split>/masks, or lists "
    "<split>.txt of names"
)


def open_mask_folders(root: Path, split: str) -> MaskDataset:
    """A split of such a set, or "all" of one that is not divided.

    Raises:
        UserError: a folder is missing, or no picture has a label map. Single ones that are missing are found
            when they are read.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {_LAYOUT}")
    images, masks = _folders(root, split)
    pictures = pictures_by_stem(images, _LAYOUT)
    labelled = pictures_by_stem(masks, _LAYOUT)
    names = _listed(root, split, pictures) if images == root / "images" else list(pictures)
    if not names:
        raise UserError(f"{images}: holds no picture; {_LAYOUT}")
    if not any(name in labelled for name in names):
        raise UserError(
            f"{masks / names[0]}.png: no such label map, and none of the other {len(names) - 1} pictures has "
            f"one; {_LAYOUT}"
        )
    classes = read_classes(root / CLASSES_FILE)
    return MaskDataset(
        [pictures[name] for name in names],
        [labelled.get(name, masks / f"{name}.png") for name in names],
        classes,
        ids=names,
    )


def _folders(root: Path, split: str) -> tuple[Path, Path]:
    for images, masks in (
        (root / split / "images", root / split / "masks"),
        (root / "images" / split, root / "masks" / split),
    ):
        if images.is_dir():
            return images, masks
    return root / "images", root / "masks"


def _listed(root: Path, split: str, pictures: dict[str, Path]) -> list[str]:
    """The pictures of a split of images/, by a list of their names with or without suffixes."""
    file = root / f"{split}.txt"
    if split == ALL:
        return list(pictures)
    if not file.is_file():
        lists = [path.stem for path in root.glob("*.txt") if path.name != CLASSES_FILE]
        known = ", ".join(sorted([ALL, *lists]))
        raise UserError(f"{root}: the set has no split {split!r}, only {known}; {_LAYOUT}")
    lines = read_text(file, "expected the name of a picture in each line").splitlines()
    stems = {picture.name: stem for stem, picture in pictures.items()}
    names = [stems.get(line.strip(), line.strip()) for line in lines if line.strip()]
    unknown = [name for name in names if name not in pictures]
    if unknown:
        raise UserError(f"{file}: names the picture {unknown[0]!r}, which is not in {root / 'images'}")
    return names
