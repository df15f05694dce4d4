"""How annotations are written: the entries of a COCO file, and the elements of a VOC annotation."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from detection.data.voc_checks import VOC_FORM, XmlForm

Box = tuple[float, float, float, float]


def coco_content(
    images: Sequence[dict[str, Any]],
    classes: Sequence[str],
    category_ids: Sequence[int],
    annotations: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The content of a COCO annotation file, from entries of `coco_image` and `coco_annotation`."""
    categories = [{"id": number, "name": name} for number, name in zip(category_ids, classes, strict=True)]
    return {"images": list(images), "categories": categories, "annotations": list(annotations)}


def coco_image(image_id: int | str, file_name: str, size: tuple[int, int]) -> dict[str, Any]:
    """An entry of `images`; `size` is (height, width)."""
    return {"id": image_id, "file_name": file_name, "height": size[0], "width": size[1]}


def coco_annotation(
    number: int,
    image_id: int | str,
    category_id: int,
    box: Sequence[float],
    *,
    crowd: bool,
    area: float | None = None,
    segmentation: Any = None,
) -> dict[str, Any]:
    """An entry of `annotations`.

    Args:
        number: its id.
        box: x1, y1, x2, y2 in pixels.
        crowd: detections of it count neither as right nor as wrong.
        area: in pixels, of the box unless given.
        segmentation: polygons or a run-length; None leaves it out.
    """
    x1, y1, x2, y2 = box
    entry = {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1) if area is None else area,
    }
    if segmentation is not None:
        entry["segmentation"] = segmentation
    return {**entry, "iscrowd": int(crowd)}


def voc_annotation(
    folder: str,
    file_name: str,
    size: tuple[int, int, int],
    objects: Sequence[tuple[str, Box, bool]],
    form: XmlForm = VOC_FORM,
) -> ET.ElementTree:
    """The XML of one picture, as VOC's devkit has it unless another form is given.

    Args:
        folder: of the year, such as "VOC2007".
        size: height, width and channels of the picture.
        objects: class, x1 y1 x2 y2 in pixels, and whether it is difficult, of each.
    """
    root = ET.Element("annotation")
    set_texts(root, ".", {"folder": folder, "filename": file_name})
    set_texts(root, "size", {"width": size[1], "height": size[0], "depth": size[2]})
    set_texts(root, ".", {"segmented": 1})
    for name, box, difficult in objects:
        node = ET.SubElement(root, "object")
        set_texts(
            node, ".", {"name": name, "pose": "Unspecified", "truncated": 0, "difficult": int(difficult)}
        )
        set_texts(node, "bndbox", voc_corners(box, form))
    return ET.ElementTree(root)


def voc_corners(box: Box, form: XmlForm = VOC_FORM) -> dict[str, float]:
    """The elements of a `bndbox`, inclusive; of VOC, which counts from 1, x1 + 1, y1 + 1, x2, y2."""
    (x1, y1, x2, y2), first = box, form.first_pixel
    return {"xmin": x1 + first, "ymin": y1 + first, "xmax": x2 + (first - 1), "ymax": y2 + (first - 1)}


def set_texts(root: ET.Element, path: str, texts: Mapping[str, str | float]) -> None:
    """Writes the elements `texts` below `path`, "." for the root itself, whether they are there or not."""
    parent = root.find(path)
    parent = ET.SubElement(root, path) if parent is None else parent
    for name, text in texts.items():
        node = parent.find(name)
        node = ET.SubElement(parent, name) if node is None else node
        node.text = text if isinstance(text, str) else f"{text:.12g}"
