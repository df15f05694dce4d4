"""Label maps from COCO: drawn from the objects of an annotation file, or COCO-Stuff's PNGs."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import UserError
from foundation.file_reading import read_text
from pictures.annotations.coco_checks import check_coco, read_json, with_annotations, with_sizes
from pictures.annotations.coco_masks import check_segmentations, draw_mask
from pictures.annotations.coco_split import coco_split
from pictures.file_names import find_file
from segmentation.data.label_maps import Labels, check_classes
from segmentation.data.mask_dataset import MaskDataset, pictures_by_stem
from segmentation.types import IGNORED

BACKGROUND = "background"
STUFF_FOLDER = "stuffthingmaps"


class CocoLabels:
    """The pictures of a COCO annotation file; their label maps are drawn from the objects when asked for.

    Class 0 is the background, class i + 1 the category with the i-th smallest id. Where objects overlap the
    smaller one is seen, by the `area` that its annotation states, or else by its box: a large object's mask
    often covers what stands before it. Of two of one area the later is seen. Crowds are ignored, where no
    single object covers them. A file that lists no annotations has no truth.
    """

    def __init__(self, annotation_file: Path, image_folder: Path) -> None:
        """Read the file once.

        Raises:
            UserError: it is missing, or an entry or a segmentation is malformed.
        """
        stored = read_json(annotation_file)
        content = with_sizes(
            with_annotations(stored, str(annotation_file)), image_folder, str(annotation_file)
        )
        check_coco(content, str(annotation_file))
        categories = sorted(content["categories"], key=lambda category: category["id"])
        names = [BACKGROUND, *(category["name"] for category in categories)]
        self.classes = check_classes(names, annotation_file)
        self.has_truth = "annotations" in stored
        self.image_folder = image_folder
        images = content["images"]
        self._ids = np.array([str(image["id"]) for image in images], dtype=np.str_)
        self._file_names = np.array([image["file_name"] for image in images], dtype=np.str_)
        self._sizes = np.array([(image["height"], image["width"]) for image in images], dtype=np.int64)
        labels = {category["id"]: label for label, category in enumerate(categories, start=1)}
        self._texts, self._starts = _pack(content, labels, str(annotation_file))

    def __len__(self) -> int:
        return len(self._ids)

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        return find_file(self.image_folder, str(self._file_names[index]))

    def image_id(self, index: int) -> str:
        """The id that the file gives the picture, as text."""
        return str(self._ids[index])

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) as the annotations state them."""
        height, width = self._sizes[index].tolist()
        return height, width

    def load_labels(self, index: int) -> Labels:
        """The objects drawn (H, W), as the class says."""
        size = self.image_size(index)
        if not self.has_truth:
            return np.full(size, IGNORED, dtype=np.uint8)
        labels = np.zeros(size, dtype=np.uint8, order="F")  # column by column, as pycocotools draws
        text = self._texts[self._starts[index] : self._starts[index + 1]]
        for label, segmentation in json.loads(text):
            labels[draw_mask(segmentation, size)] = label
        return np.ascontiguousarray(labels)

    def fingerprint(self) -> str:
        """A digest of the classes, the pictures' names and sizes, and all annotations that are drawn."""
        digest = hashlib.sha256("\n".join([*self.classes, "", *map(str, self._file_names)]).encode())
        digest.update(self._sizes.tobytes())
        digest.update(self._texts)
        return digest.hexdigest()[:16]


def _pack(content: dict[str, Any], labels: dict[int, int], where: str) -> tuple[bytes, np.ndarray]:
    """Label and segmentation of each object as JSON, in the order of drawing, and where each picture's begin.

    One text instead of many objects, for the reason that `MaskDataset` gives.
    """
    images, annotations = content["images"], content["annotations"]
    index_of = {image["id"]: index for index, image in enumerate(images)}
    sizes = [
        (images[index_of[a["image_id"]]]["height"], images[index_of[a["image_id"]]]["width"])
        for a in annotations
    ]
    check_segmentations(
        [a.get("segmentation") for a in annotations],
        sizes,
        lambda row: f"{where}: annotation {annotations[row]['id']}",
    )
    of_picture: list[list[dict[str, Any]]] = [[] for _ in images]
    for annotation in annotations:
        of_picture[index_of[annotation["image_id"]]].append(annotation)
    texts = []
    for objects in of_picture:
        drawn = sorted(objects, key=lambda a: (not a.get("iscrowd"), -_area(a)))
        texts.append(
            json.dumps(
                [
                    (IGNORED if a.get("iscrowd") else labels[a["category_id"]], a["segmentation"])
                    for a in drawn
                ]
            ).encode()
        )
    return b"".join(texts), np.cumsum([0, *map(len, texts)])


def _area(annotation: dict[str, Any]) -> float:
    stated = annotation.get("area")
    return float(annotation["bbox"][2] * annotation["bbox"][3] if stated is None else stated)


def open_coco(root: Path, split: str) -> CocoLabels:
    """A split in COCO's layout, such as "train2017"; see `pictures.annotations.coco_split`."""
    return CocoLabels(*coco_split(root, split))


def open_coco_stuff(root: Path, split: str) -> MaskDataset:
    """COCO-Stuff's label maps (Caesar et al. 2018): stuffthingmaps/<split>/*.png beside the pictures.

    The index in a PNG is the id of a category minus one, 255 is unlabelled. Names come from labels.txt, which
    lies in COCO-Stuff's repository: lines such as "1: person". Of its 182 ids 11 never occur.
    """
    file = root / STUFF_FOLDER / "labels.txt"
    text = read_text(file, "put labels.txt of https://github.com/nightrome/cocostuff there")
    found = {
        int(number): name for number, name in re.findall(r"^\s*(\d+)\s*:\s*(.+?)\s*$", text, re.MULTILINE)
    }
    found.pop(0, None)  # "unlabeled"
    if sorted(found) != list(range(1, len(found) + 1)):
        raise UserError(f'{file}: expected lines with the ids 1, 2, 3, … and names, as "1: person"')
    classes = check_classes([found[number] for number in sorted(found)], file)
    folder = root / STUFF_FOLDER / split
    masks = pictures_by_stem(folder, "unpack stuffthingmaps_trainval2017.zip so that it exists")
    pictures = pictures_by_stem(root / split, "expected COCO's pictures there")
    missing = [stem for stem in masks if stem not in pictures]
    if missing:
        raise UserError(
            f"{masks[missing[0]]}: has no picture {missing[0]} in {root / split}; unpack it there"
        )
    return MaskDataset([pictures[stem] for stem in masks], list(masks.values()), classes, ids=list(masks))
