"""COCO, PASCAL VOC and YOLO as annotation tools export them, from the doctor to drawn detections."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

CLASSES = ("cat", "dog")


def coco(scenes: Sequence[Any], folder: str = "", first: int = 1, group: str | None = None) -> dict[str, Any]:
    """A COCO file; `group` is the category 0 that Roboflow puts before all others."""
    categories = [{"id": n, "name": name, "supercategory": group or ""} for n, name in enumerate(CLASSES, 1)]
    if group is not None:
        categories.insert(0, {"id": 0, "name": group, "supercategory": "none"})
    annotations = [
        {"image_id": image, "category_id": 1 + CLASSES.index(label), "bbox": [x1, y1, x2 - x1, y2 - y1],
         "area": (x2 - x1) * (y2 - y1), "iscrowd": 0, "segmentation": []}
        for image, scene in enumerate(scenes, first) for label, x1, y1, x2, y2 in scene.boxes
    ]  # fmt: skip
    return {
        "info": {}, "licenses": [], "categories": categories,
        "images": [
            {"id": image, "file_name": folder + scene.name, "width": 64, "height": 48, "license": 0}
            for image, scene in enumerate(scenes, first)
        ],
        "annotations": [{"id": n, **entry} for n, entry in enumerate(annotations, first)],
    }  # fmt: skip


def coco_by_hand(own: Any) -> None:
    for split, scenes in own.splits.items():
        own.draw(own.root / "pictures", scenes)
        own.write(own.root / f"{split}.json", coco(scenes))


def coco_of_cvat(own: Any) -> None:
    own.draw(own.root / "images" / "default", own.all)
    own.write(own.root / "annotations" / "instances_default.json", coco(own.all))


def coco_of_roboflow(own: Any) -> None:
    for folder, scenes in own.roboflow.items():
        own.draw(own.root / folder, scenes)
        own.write(own.root / folder / "_annotations.coco.json", coco(scenes, first=0, group="animals"))


def coco_of_label_studio(own: Any) -> None:
    own.draw(own.root / "images", own.all)
    own.write(own.root / "result.json", coco(own.all, folder="images/", first=0))


def voc_xml(scene: Any) -> str:
    """A VOC annotation; its pixels count from 1 and include the last."""
    objects = "".join(
        f"<object><name>{label}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>"
        for label, x1, y1, x2, y2 in scene.boxes
    )
    size = f"<size><width>{64}</width><height>{48}</height><depth>3</depth></size>"
    return (
        f"<annotation><folder>x</folder><filename>{scene.name}</filename>{size}"
        f"<segmented>0</segmented>{objects}</annotation>"
    )


def voc_of_labelimg(own: Any) -> None:
    own.draw(own.root, own.all)
    for scene in own.all:
        own.write(own.root / f"{scene.stem}.xml", voc_xml(scene))


def voc_of_roboflow(own: Any) -> None:
    for folder, scenes in own.roboflow.items():
        own.draw(own.root / folder, scenes)
        for scene in scenes:
            own.write(own.root / folder / f"{scene.stem}.xml", voc_xml(scene))


def voc_of_cvat(own: Any) -> None:
    own.draw(own.root / "JPEGImages", own.all)
    for split, scenes in own.splits.items():
        for scene in scenes:
            own.write(own.root / "Annotations" / f"{scene.stem}.xml", voc_xml(scene))
        names = "".join(f"{scene.stem}\n" for scene in scenes)
        own.write(own.root / "ImageSets" / "Main" / f"{split}.txt", names)
    colours = "background:0,0,0::\ncat:1,2,3::\ndog:4,5,6::\n"
    own.write(own.root / "labelmap.txt", f"# label:color_rgb:parts:actions\n{colours}")


def voc_of_label_studio(own: Any) -> None:
    own.draw(own.root / "images", own.all)
    for scene in own.all:
        own.write(own.root / "Annotations" / f"{scene.stem}.xml", voc_xml(scene))


def yolo_text(scene: Any) -> str:
    """A label file: class, centre and size in parts of the picture."""
    return "".join(
        f"{CLASSES.index(label)} {(x1 + x2) / 2 / 64} {(y1 + y2) / 2 / 48} {(x2 - x1) / 64} "
        f"{(y2 - y1) / 48}\n"
        for label, x1, y1, x2, y2 in scene.boxes
    )


def yolo_labels(own: Any, folder: Path, scenes: Sequence[Any]) -> None:
    for scene in scenes:
        if scene.boxes:
            own.write(folder / f"{scene.stem}.txt", yolo_text(scene))


def yolo_by_hand(own: Any) -> None:
    for split, scenes in own.splits.items():
        own.draw(own.root / "images" / split, scenes)
        yolo_labels(own, own.root / "labels" / split, scenes)
    own.write(
        own.root / "data.yaml", "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"
    )


def yolo_of_roboflow(own: Any) -> None:
    for folder, scenes in own.roboflow.items():
        own.draw(own.root / folder / "images", scenes)
        yolo_labels(own, own.root / folder / "labels", scenes)
    places = "train: ../train/images\nval: ../valid/images\n"
    own.write(own.root / "data.yaml", f"{places}\nnc: 2\nnames: ['cat', 'dog']\n")


def yolo_of_cvat(own: Any) -> None:
    own.draw(own.root / "obj_train_data", own.all)
    yolo_labels(own, own.root / "obj_train_data", own.all)
    own.write(own.root / "train.txt", "".join(f"data/obj_train_data/{scene.name}\n" for scene in own.all))
    own.write(own.root / "obj.names", "cat\ndog\n")
    own.write(own.root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")


def yolo_of_label_studio(own: Any) -> None:
    own.draw(own.root / "images", own.all)
    yolo_labels(own, own.root / "labels", own.all)
    own.write(own.root / "classes.txt", "cat\ndog\n")
    own.write(own.root / "notes.json", {"categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]})


SETS: dict[str, tuple[str, Callable[[Any], None], tuple[str, ...]]] = {
    "COCO by hand": (
        "coco",
        coco_by_hand,
        ("data.train=train.json", "data.val=val.json", "data.pictures=pictures"),
    ),
    "COCO of CVAT": ("coco", coco_of_cvat, ()),
    "COCO of Roboflow": ("coco", coco_of_roboflow, ()),
    "COCO of Label Studio": ("coco", coco_of_label_studio, ()),
    "VOC of labelImg": ("voc", voc_of_labelimg, ("data.classes=auto",)),
    "VOC of Roboflow": ("voc", voc_of_roboflow, ()),
    "VOC of CVAT": ("voc", voc_of_cvat, ()),
    "VOC of Label Studio": ("voc", voc_of_label_studio, ()),
    "YOLO by hand": ("yolo", yolo_by_hand, ()),
    "YOLO of Roboflow": ("yolo", yolo_of_roboflow, ()),
    "YOLO of CVAT": ("yolo", yolo_of_cvat, ()),
    "YOLO of Label Studio": ("yolo", yolo_of_label_studio, ()),
}

FAST = ("COCO by hand", "VOC of labelImg", "YOLO by hand")  # one of each layout


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in SETS]
)
def test_a_set_becomes_a_detector(own: Any, passes: Callable[..., None], name: str):
    kind, write, options = SETS[name]
    write(own)
    passes(kind, *options)
