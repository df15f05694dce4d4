"""Label maps from COCO: drawn from the objects of an annotation file, or COCO-Stuff's PNGs."""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import UserError
from foundation.file_reading import read_text
from pictures.annotations.coco_checks import check_coco, read_json, with_annotations, with_sizes
from pictures.annotations.coco_masks import check_segmentations, draw_mask
from pictures.annotations.coco_split import coco_split
from pictures.annotations.voc_classes import COCO_NAMES, VOC_CLASSES
from pictures.file_names import find_file
from segmentation.data.label_maps import Labels, check_classes
from segmentation.data.mask_dataset import MaskDataset, pictures_by_stem
from segmentation.types import IGNORED

BACKGROUND = "background"
STUFF_FOLDER = "stuffthingmaps"
LEAST_AREA = math.nextafter(1000, math.inf)  # more than 1,000 pixels


class CocoLabels:
    """The pictures of a COCO annotation file; their label maps are drawn from the objects when asked for.

    Class 0 is the background, class i + 1 the category with the i-th smallest id. Where objects overlap the
    smaller one is seen, by the `area` that its annotation states, or else by its box: a large object's mask
    often covers what stands before it. Of two of one area the later is seen. Crowds are ignored, where no
    single object covers them. A file that lists no annotations has no truth.

    Of VOC's classes alone the maps are those on which torchvision trains and scores its published networks:
    objects of other categories are background, a pixel of several objects is ignored, and a crowd is an
    object.
    """

    def __init__(
        self, annotation_file: Path, image_folder: Path, *, of_voc: bool = False, least_area: float = 0
    ) -> None:
        """Read the file once.

        Args:
            of_voc: only VOC's 20 classes, in VOC's order.
            least_area: pixels; pictures whose objects have less in all are left out.
        Raises:
            UserError: it is missing, lacks one of VOC's classes, or an entry or a segmentation is malformed.
        """
        stored = read_json(annotation_file)
        content = with_sizes(
            with_annotations(stored, str(annotation_file)), image_folder, str(annotation_file)
        )
        check_coco(content, str(annotation_file))
        categories = sorted(content["categories"], key=lambda category: category["id"])
        if of_voc:
            categories = _voc_categories(categories, annotation_file)
        content = _kept(content, {category["id"] for category in categories}, least_area)
        names = [category["name"] for category in categories]
        self.classes = check_classes([BACKGROUND, *(VOC_CLASSES if of_voc else names)], annotation_file)
        self._shared_ignored = of_voc
        self.has_truth = "annotations" in stored
        self.image_folder = image_folder
        images = content["images"]
        self._ids = np.array([str(image["id"]) for image in images], dtype=np.str_)
        self._file_names = np.array([image["file_name"] for image in images], dtype=np.str_)
        self._sizes = np.array([(image["height"], image["width"]) for image in images], dtype=np.int64)
        labels = {category["id"]: label for label, category in enumerate(categories, start=1)}
        self._texts, self._starts = _pack(content, labels, str(annotation_file), crowds_ignored=not of_voc)

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
        covered, shared = np.zeros((2, *size), dtype=bool)
        for label, segmentation in self._objects(index):
            mask = draw_mask(segmentation, size)
            labels[mask] = label
            if self._shared_ignored:
                shared |= covered & mask
                covered |= mask
        labels[shared] = IGNORED
        return np.ascontiguousarray(labels)

    def _objects(self, index: int) -> list[tuple[int, Any]]:
        """Label and segmentation of the picture's objects, in the order of drawing."""
        return json.loads(self._texts[self._starts[index] : self._starts[index + 1]])

    def fingerprint(self) -> str:
        """A digest of the classes, the pictures' names and sizes, and all annotations that are drawn."""
        digest = hashlib.sha256("\n".join([*self.classes, "", *map(str, self._file_names)]).encode())
        digest.update(self._sizes.tobytes())
        digest.update(self._texts)
        return digest.hexdigest()[:16]


def _voc_categories(categories: list[dict[str, Any]], file: Path) -> list[dict[str, Any]]:
    """Those of VOC's classes, in VOC's order."""
    by_name = {category["name"]: category for category in categories}
    missing = [name for name in COCO_NAMES.values() if name not in by_name]
    if missing:
        raise UserError(
            f"{file}: lacks {', '.join(missing)}; expected COCO's names of VOC's 20 classes, or take "
            "data.kind=coco, which has the file's own categories"
        )
    return [by_name[name] for name in COCO_NAMES.values()]


def _kept(content: dict[str, Any], categories: set[int], least_area: float) -> dict[str, Any]:
    """The objects of these categories, and the pictures whose objects have enough pixels in all."""
    annotations = [a for a in content["annotations"] if a["category_id"] in categories]
    areas: dict[Any, float] = dict.fromkeys((image["id"] for image in content["images"]), 0)
    for annotation in annotations:
        areas[annotation["image_id"]] += _area(annotation)
    return {
        **content,
        "images": [image for image in content["images"] if areas[image["id"]] >= least_area],
        "annotations": [a for a in annotations if areas[a["image_id"]] >= least_area],
    }


def _pack(
    content: dict[str, Any], labels: dict[int, int], where: str, *, crowds_ignored: bool
) -> tuple[bytes, np.ndarray]:
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
        drawn = []
        for a in sorted(objects, key=lambda a: (not a.get("iscrowd"), -_area(a))):
            ignored = crowds_ignored and a.get("iscrowd")
            drawn.append((IGNORED if ignored else labels[a["category_id"]], a["segmentation"]))
        texts.append(json.dumps(drawn).encode())
    return b"".join(texts), np.cumsum([0, *map(len, texts)])


def _area(annotation: dict[str, Any]) -> float:
    stated = annotation.get("area")
    return float(annotation["bbox"][2] * annotation["bbox"][3] if stated is None else stated)


def open_coco(root: Path, split: str) -> CocoLabels:
    """A split in COCO's layout, such as "train2017"; see `pictures.annotations.coco_split`."""
    return CocoLabels(*coco_split(root, split))


def open_coco_voc(root: Path, split: str) -> CocoLabels:
    """COCO's pictures with VOC's classes alone, see `CocoLabels`.

    As in torchvision's training, a split called "train…" has only pictures whose objects have more than
    1,000 pixels.
    """
    least_area = LEAST_AREA if split.startswith("train") else 0
    return CocoLabels(*coco_split(root, split), of_voc=True, least_area=least_area)


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
