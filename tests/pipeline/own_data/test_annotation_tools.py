"""labelme's and VIA's annotations and tables of boxes, from the doctor to drawn detections."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest


def outline(x1: int, y1: int, x2: int, y2: int) -> list[list[int]]:
    """A polygon of six corners with this box."""
    middle = (x1 + x2) // 2
    return [[x1, y2], [x1, y1 + 4], [middle, y1], [x2, y1 + 4], [x2, y2], [middle, y2 - 2]]


def labelme_json(scene: Any, path: str, *, polygons: bool) -> dict[str, Any]:
    shapes = [
        {"label": label, "points": outline(*box) if polygons else [box[2:], box[:2]], "group_id": None,
         "description": "", "shape_type": "polygon" if polygons else "rectangle", "flags": {}, "mask": None}
        for label, *box in scene.boxes
    ]  # fmt: skip
    return {
        "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": path, "imageData": None,
        "imageHeight": 48, "imageWidth": 64,
    }  # fmt: skip


def labelme_beside(own: Any) -> None:
    own.draw(own.root, own.all)
    for scene in own.all:
        if scene.boxes:
            content = labelme_json(scene, scene.name, polygons=False)
            own.write(own.root / f"{scene.stem}.json", content)


def labelme_with_polygons(own: Any) -> None:
    for split, scenes in own.splits.items():
        own.draw(own.root / "pictures" / split, scenes)
        for scene in scenes:
            content = labelme_json(scene, f"..\\pictures\\{split}\\{scene.name}", polygons=True)
            own.write(own.root / split / f"{scene.stem}.json", content)
    own.write(own.root / "labels.txt", "__ignore__\n_background_\ncat\ndog\n")


def table(file: Path, header: str, rows: Sequence[Sequence[object]], *, delimiter: str = ",") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened, delimiter=delimiter)
        writer.writerows([header.split(","), *rows] if header else rows)


def rows(scenes: Sequence[Any]) -> list[list[object]]:
    """File, x1, y1, x2, y2, class of every object, and the fields of box and class empty without any."""
    return [
        [scene.name, x1, y1, x2, y2, label]
        for scene in scenes
        for label, x1, y1, x2, y2 in scene.boxes or [("", *4 * ("",))]
    ]


def csv_by_hand(own: Any) -> None:
    own.draw(own.root / "images", own.all)
    for split, scenes in own.splits.items():
        table(own.root / f"{split}.csv", "file,xmin,ymin,xmax,ymax,label", rows(scenes), delimiter=";")


def csv_of_roboflow(own: Any) -> None:
    for folder, scenes in own.roboflow.items():
        own.draw(own.root / folder, scenes)
        found = [[name, 64, 48, label, *box] for name, *box, label in rows(scenes) if label]
        header = "filename,width,height,class,xmin,ymin,xmax,ymax"
        table(own.root / folder / "_annotations.csv", header, found)


def csv_of_keras_retinanet(own: Any) -> None:
    own.draw(own.root / "images", own.all)
    table(own.root / "annotations.csv", "", [[f"images/{name}", *rest] for name, *rest in rows(own.all)])
    own.write(own.root / "classes.csv", "cat,0\ndog,1\n")


def via_regions(scene: Any) -> list[dict[str, Any]]:
    return [
        {
            "shape_attributes": {
                "name": "polygon",
                "all_points_x": [x for x, _ in outline(*box)],
                "all_points_y": [y for _, y in outline(*box)],
            },
            "region_attributes": {"class": label},
        }
        for label, *box in scene.boxes
    ]


def via_table(own: Any) -> None:
    own.draw(own.root / "images", own.all)
    header = (
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    )
    found: list[list[object]] = []
    for scene in own.all:
        regions = via_regions(scene)
        start = [scene.name, 100, "{}", len(regions)]
        found += [[*start, n, *map(json.dumps, region.values())] for n, region in enumerate(regions)]
        found += [] if regions else [[*start, 0, "{}", "{}"]]
    table(own.root / "via_export.csv", f"{header},region_attributes", found)


def via_project(own: Any) -> None:
    for split, scenes in own.splits.items():
        own.draw(own.root / split, scenes)
        entries = {
            f"{scene.name}100": {"filename": scene.name, "size": 100, "regions": via_regions(scene)}
            for scene in scenes
        }
        project = {"_via_settings": {}, "_via_img_metadata": entries, "_via_attributes": {}}
        own.write(own.root / split / "via_project.json", project)


WITH_MASKS = ("detector.kind=fpn", "detector.mask=true", "rpn.anchor_sizes=[8, 16, 32, 48, 64]")
SETS: dict[str, tuple[str, Callable[[Any], None], tuple[str, ...]]] = {
    "labelme": ("labelme", labelme_beside, ()),
    "labelme with polygons": ("labelme", labelme_with_polygons, WITH_MASKS),
    "CSV by hand": ("csv", csv_by_hand, ()),
    "CSV of Roboflow": ("csv", csv_of_roboflow, ()),
    "CSV of keras-retinanet": ("csv", csv_of_keras_retinanet, ()),
    "VIA's table": ("csv", via_table, ()),
    "VIA's project": ("via", via_project, WITH_MASKS),
}

FAST = ("labelme", "CSV by hand", "VIA's table")  # one of each layout


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in SETS]
)
def test_a_set_becomes_a_detector(own: Any, passes: Callable[..., None], name: str):
    kind, write, options = SETS[name]
    write(own)
    passes(kind, *options)
