"""Entries of both formats, worked by hand."""

from xml.etree import ElementTree

from detection.data.annotation_writers import (
    coco_annotation,
    coco_content,
    coco_image,
    set_texts,
    voc_annotation,
    voc_corners,
)
from detection.data.voc_checks import VocObject, XmlForm, read_object
from pictures.annotations.coco_checks import check_coco


def test_a_coco_file_by_hand():
    images = [coco_image("a", "a.jpg", (5, 6))]
    # (2, 1) to (5, 3) is 3 wide and 2 high.
    entry = coco_annotation(1, "a", 8, (2, 1, 5, 3), crowd=True)
    content = coco_content(images, ["ring"], [8], [entry])
    assert content == {
        "images": [{"id": "a", "file_name": "a.jpg", "height": 5, "width": 6}],
        "categories": [{"id": 8, "name": "ring"}],
        "annotations": [
            {"id": 1, "image_id": "a", "category_id": 8, "bbox": [2, 1, 3, 2], "area": 6, "iscrowd": 1}
        ],
    }
    check_coco(content, "written")
    masked = coco_annotation(1, "a", 8, (2, 1, 5, 3), crowd=False, area=4, segmentation=[[1] * 6])
    assert (masked["area"], masked["segmentation"], masked["iscrowd"]) == (4, [[1] * 6], 0)


def test_a_voc_annotation_by_hand():
    tree = voc_annotation("VOC2007", "000042.jpg", (5, 6, 3), [("ring", (2, 1, 5, 3), True)])
    text = ElementTree.tostring(tree.getroot(), encoding="unicode")
    # 1-based and inclusive: (2 + 1, 1 + 1, 5, 3).
    assert "<bndbox><xmin>3</xmin><ymin>2</ymin><xmax>5</xmax><ymax>3</ymax></bndbox>" in text
    assert "<difficult>1</difficult>" in text and "<filename>000042.jpg</filename>" in text
    assert "<width>6</width><height>5</height><depth>3</depth>" in text
    (node,) = tree.getroot().findall("object")
    assert read_object(node, 1, ["ring"], (5, 6)) == VocObject(1, 1, (2, 1, 5, 3), True)


def test_a_form_that_counts_from_0_is_read_back():
    form, box = XmlForm(0, "", spelt=False, lists=""), (2, 1, 5, 3)
    (node,) = voc_annotation("x", "a", (5, 6, 3), [("ring", box, False)], form).getroot().findall("object")
    assert [node.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")] == list("2142")
    assert read_object(node, 1, ["ring"], (5, 6), form) == VocObject(1, 1, box, False)


def test_texts_are_changed_or_added():
    root = ElementTree.fromstring("<object><bndbox><xmin>9</xmin></bndbox></object>")
    set_texts(root, "bndbox", voc_corners((0, 0.5, 2, 3)))
    set_texts(root, ".", {"name": "cat"})
    assert ElementTree.tostring(root, encoding="unicode") == (
        "<object><bndbox><xmin>1</xmin><ymin>1.5</ymin><xmax>2</xmax><ymax>3</ymax></bndbox>"
        "<name>cat</name></object>"
    )
