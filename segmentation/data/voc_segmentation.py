"""PASCAL VOC's segmentation: ImageSets/Segmentation/*.txt, JPEGImages and SegmentationClass.

SBD's annotations of 10,582 pictures (Hariharan et al. 2011) come in the layout that DeepLab's authors gave
them: the list train_aug.txt beside the others, and SegmentationClassAug.
"""

from pathlib import Path

from foundation.errors import UserError, suggest
from foundation.file_reading import read_text
from pictures.annotations.voc_classes import CLASSES_FILE, VOC_CLASSES
from pictures.suffixes import is_picture
from segmentation.data.label_maps import check_classes, read_classes
from segmentation.data.mask_dataset import MaskDataset, pictures_by_stem

BACKGROUND = "background"
_AUGMENTED = "aug"  # the end of the names of SBD's lists


def open_voc(devkit: Path, split: str) -> MaskDataset:
    """A split of a devkit, written year:name, for instance "2012:train", "2012:val" or "2012:train_aug".

    Classes are VOC's 21, or the background and those of classes.txt in the year's folder, one a line.

    Raises:
        UserError: the folder or the list is missing, or a picture of the list is.
    """
    year, separator, name = split.partition(":")
    if not separator:
        raise UserError(f"a VOC split is written year:split, for instance 2012:train, got {split!r}")
    folder = devkit / f"VOC{year}"
    ids = _listed(folder, name)
    pictures = pictures_by_stem(folder / "JPEGImages", "expected VOC's pictures there")
    missing = [image_id for image_id in ids if image_id not in pictures]
    if missing:
        raise UserError(
            f"{folder / 'JPEGImages'}: has no picture {missing[0]!r}; {len(missing)} of {len(ids)} of "
            f"{split} are missing: unpack the pictures there or correct the list"
        )
    masks = [_mask(folder, image_id, name) for image_id in ids]
    secret = name == "test" and not any(mask.is_file() for mask in masks)
    return MaskDataset(
        [pictures[image_id] for image_id in ids], None if secret else masks, _classes(folder), ids=ids
    )


def _listed(folder: Path, name: str) -> list[str]:
    lists = folder / "ImageSets" / "Segmentation"
    file = lists / f"{name}.txt"
    if not lists.is_dir():
        raise UserError(
            f"no VOC segmentation in {folder}: expected the folders ImageSets/Segmentation, JPEGImages and "
            f"SegmentationClass; get {folder.name} from http://host.robots.ox.ac.uk/pascal/VOC/ and unpack "
            f"it so that {folder} exists"
        )
    if not file.is_file():
        how = suggest(name, sorted(path.stem for path in lists.glob("*.txt")))
        if name.endswith(_AUGMENTED):
            how = f"; put SBD's list there, and its label maps in {folder / 'SegmentationClassAug'}"
        raise UserError(f"{file}: {folder.name} has no split {name!r} for segmentation{how}")
    lines = read_text(file, "expected the name of a picture in each line").splitlines()
    return [_name_in(line, file) for line in lines if line.strip()]


def _name_in(line: str, file: Path) -> str:
    """The picture that a line names: alone, or as the path of a picture before that of its label map."""
    words = line.split()
    if len(words) > 2 or (len(words) == 2 and "/" not in words[1]):
        raise UserError(f"{file}: {line.strip()!r} is the name of no picture, expected one in each line")
    return Path(words[0]).stem if is_picture(Path(words[0])) else Path(words[0]).name


def _mask(folder: Path, image_id: str, name: str) -> Path:
    """SBD's label map where the split is one of SBD's and it has one, else VOC's own."""
    own = folder / "SegmentationClass" / f"{image_id}.png"
    augmented = folder / "SegmentationClassAug" / f"{image_id}.png"
    return augmented if name.endswith(_AUGMENTED) and (augmented.is_file() or not own.is_file()) else own


def _classes(folder: Path) -> list[str]:
    file = folder / CLASSES_FILE
    names = read_classes(file) if file.is_file() else list(VOC_CLASSES)
    return names if names[0] == BACKGROUND else check_classes([BACKGROUND, *names], file)
