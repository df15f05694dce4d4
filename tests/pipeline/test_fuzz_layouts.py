"""Damaged and hostile annotations of one's own sets: each is read, or refused in one line."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from detection.data.dataset_splits import DataConfig, open_dataset
from foundation.errors import UserError


class Annotations(NamedTuple):
    """The sound content of a file, its kind of set, and its place beside the picture a.png."""

    kind: str
    name: str
    content: str
    masks: bool = False


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


LABELME = {
    "version": "5.5.0",
    "shapes": [
        {"label": "cat", "points": [[1, 2], [21, 2], [21, 12.5]], "group_id": 1, "shape_type": "polygon"},
        {"label": "cat", "points": [[9, 9], [3, 4]], "group_id": 1, "shape_type": "rectangle"},
        {"label": "dog", "points": [[30, 20], [33, 24]], "group_id": None, "shape_type": "circle"},
        {"label": "dog", "points": [[10, 20], [15, 23]], "group_id": None, "shape_type": "mask",
         "mask": base64.b64encode(png(np.ones((4, 6), np.bool_))).decode()},
    ],
    "imagePath": "a.png", "imageData": None, "imageHeight": 40, "imageWidth": 60,
}  # fmt: skip
REGIONS = [
    {"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 20, "height": 10},
     "region_attributes": {"class": "cat"}},
    {"shape_attributes": {"name": "polygon", "all_points_x": [3, 9, 9], "all_points_y": [4, 4, 9]},
     "region_attributes": {"class": "dog"}},
    {"shape_attributes": {"name": "ellipse", "cx": 30, "cy": 20, "rx": 9, "ry": 4.5, "theta": 0.3},
     "region_attributes": {"class": "dog"}},
]  # fmt: skip
VIA = {"_via_img_metadata": {"a.png9": {"filename": "a.png", "size": 9, "regions": REGIONS}}}
VIA_TABLE = (
    "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    'a.png,9,"{}",1,0,"{""name"":""circle"",""cx"":9,""cy"":9,""r"":4}","{""class"":""cat""}"\n'
)
VOC = """<annotation><filename>a.png</filename><size><width>60</width><height>40</height></size><object>
<name>dog</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax>
<ymax>30</ymax></bndbox></object></annotation>"""
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 60}],
    "categories": [{"id": 0, "name": "group", "supercategory": "none"}, {"id": 1, "name": "cat"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1.5, 2, 20, 10]}],
}
KINDS = {
    "labelme": Annotations("labelme", "a.json", json.dumps(LABELME), masks=True),
    "VIA": Annotations("via", "via.json", json.dumps(VIA), masks=True),
    "VIA's table": Annotations("csv", "via.csv", VIA_TABLE, masks=True),
    "CSV": Annotations(
        "csv", "a.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,60,40,cat,1,2,20,30.5\n"
    ),
    "CSV without a header": Annotations("csv", "a.csv", "a.png,1,2,20,30.5,cat\na.png,3,4,9,9,dog\n"),
    "YOLO": Annotations("yolo", "a.txt", "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.05 0.1\n"),
    "YOLO with polygons": Annotations(
        "yolo", "a.txt", "0 0.5 0.5 0.25 0.5 0.3 0.7\n1 0.1 0.1 0.5 0.1 0.5 0.75\n", masks=True
    ),
    "YOLO's description": Annotations(
        "yolo", "data.yaml", "path: .\ntrain: train/images\nval: .\nnc: 2\nnames: {0: cat, 1: dog}\n"
    ),
    "VOC": Annotations("voc", "a.xml", VOC),
    "COCO": Annotations("coco", "_annotations.coco.json", json.dumps(COCO)),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_every_set_is_read_or_refused_in_one_line(tmp_path: Path, fuzzed: Callable[..., None], name: str):
    kind, file, content, masks = KINDS[name]
    (tmp_path / "a.png").write_bytes(png(np.full((40, 60, 3), 90, np.uint8)))
    if kind == "yolo":
        (tmp_path / "classes.txt").write_text("cat\ndog\n")
        (tmp_path / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n")

    def read(path: Path) -> None:
        data = DataConfig(kind=kind, root=str(path.parent))
        refused = None
        for wanted in {False, masks}:
            try:
                for split in (data.train, data.val):
                    dataset = open_dataset(data, split, masks=wanted)
                    for index in range(len(dataset)):
                        target = dataset.load_target(index)
                        for row in range(len(target.boxes) if wanted else 0):
                            target.mask(row)
            except UserError as error:
                refused = error
        if refused is not None:
            raise refused

    fuzzed(tmp_path / file, content.encode(), read, text=True)
