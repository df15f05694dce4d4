"""Damaged and hostile files of every kind: each is read, or refused in one line, in a second and 100 MiB.

`FUZZ_CASES` says how many cases there are of each kind; `make fuzz` tries many.
"""

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from backbones.convert.caffemodel import Layer, read_caffemodel, write_caffemodel
from backbones.convert.formats import read_pickled_arrays
from backbones.weights.weight_files import read_header, read_pickle, read_weights, to_safetensors
from classification.config import PretrainConfig
from classification.data.cifar10 import read_class_names
from classification.data.shards import list_samples
from classification.score.label_files import read_labels
from classification.score.saved_scores import Scores, load_scores, save_scores
from detection.config import DetectionConfig
from detection.data.coco_dataset import CocoDataset
from detection.data.voc_checks import read_annotation
from detection.localization.localization_result import JudgedPictures, load_judged_pictures
from detection.metrics.coco_ap import evaluate
from doctor.box_findings import check_objects
from doctor.survey_readers import survey_coco
from pictures.annotations.coco_split import CocoSplit
from pictures.decoding import image_size, load_image
from pictures.opening import FORMATS
from segmentation.metrics.confusion_matrix import PictureCounts
from segmentation.results.counted_pictures import CountedPictures, load_counted_pictures
from training.config import load_config


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        make: the content of a sound one.
        read: what is tried.
        text: whether values of its text are replaced, too.
    """

    make: Callable[[Path], bytes]
    read: Callable[[Path], Any]
    text: bool = False
    suffix: str = ""


ANNOTATIONS = {
    "images": [{"id": n, "file_name": f"{n}.jpg", "height": 40, "width": 60} for n in (1, 2)],
    "categories": [{"id": n, "name": f"class {n}"} for n in (1, 3)],
    "annotations": [
        {"id": n, "image_id": 1 + n % 2, "category_id": 1, "bbox": [1.5, 2, 20, 10 + n], "area": 200.0,
         "iscrowd": 0, "segmentation": [[1, 2, 21, 2, 21, 12]]}
        for n in range(1, 4)
    ],
}  # fmt: skip
PREDICTIONS = [
    {"image_id": 1, "category_id": 1, "bbox": [1, 2, 20, 11], "score": 0.9},
    {"image_id": 2, "category_id": 3, "bbox": [5, 2, 10, 11], "score": 0.3},
]
VOC = """<annotation><filename>a.jpg</filename><size><width>60</width><height>40</height></size><object>
<name>dog</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax>
<ymax>30</ymax></bndbox></object></annotation>"""
TENSORS = {"conv1.weight": torch.arange(24.0).view(2, 3, 2, 2), "bn1.bias": torch.ones(2)}


def load_coco(path: Path) -> None:
    for masks in (False, True):
        dataset = CocoDataset(path, path.parent, masks=masks)
        for index in range(len(dataset)):
            target = dataset.load_target(index)
            for row in range(len(target.boxes) if masks else 0):
                target.mask(row)


def survey(path: Path) -> None:
    check_objects(survey_coco(CocoSplit(path, path.parent)))


def read_picture(path: Path) -> None:
    try:
        image_size(path)
    finally:
        load_image(path)


def saved(save: Callable[[Any], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def written(write: Callable[[Path], object], folder: Path, name: str = "made") -> bytes:
    write(folder / name)
    return (folder / name).read_bytes()


def shard(buffer: io.BytesIO) -> None:
    files = {
        "a/0.jpg": b"A" * 700,
        "a/0.cls": b"1",
        "a/1.jpg": b"B",
        "a/1.json": b'{"label": 0}',
        "b/" * 60 + "2.jpg": b"",
    }
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def picture(format: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return saved(lambda buffer: Image.fromarray(noise).save(buffer, format))


ARRAYS = {
    "model": {"w": np.arange(6.0), "n": [1, (2, None)]},
    "__author__": "x",
    "blobs": {"b": np.float32(1)},
}
SCORES = Scores(["a/0", "a/1"], torch.tensor([0, 1]), ["a", "b"], torch.zeros(2, 2), {"weights": "x"})
COUNTED = CountedPictures(
    ["a", "b"], ["ground", "cat"], "0", PictureCounts(*(np.ones((2, 2), np.int64),) * 3)
)
JUDGED = JudgedPictures(["a", "b"], ["cat"], [1, 1], "0", {"oracle_error": np.array([True, False])})
KINDS = {
    "coco": Kind(lambda folder: json.dumps(ANNOTATIONS).encode(), load_coco, True, ".json"),
    "coco in the doctor": Kind(lambda folder: json.dumps(ANNOTATIONS).encode(), survey, True, ".json"),
    "coco results": Kind(
        lambda folder: json.dumps(PREDICTIONS).encode(),
        lambda path: evaluate(ANNOTATIONS, path),
        True,
        ".json",
    ),
    "voc": Kind(lambda folder: VOC.encode(), lambda path: read_annotation(path, ["dog"]), True, ".xml"),
    "pretraining": Kind(
        lambda folder: Path("configs/cifar10_r56.yaml").read_bytes(),
        lambda path: load_config(PretrainConfig, path, []),
        True,
        ".yaml",
    ),
    "fine-tuning": Kind(
        lambda folder: Path("configs/coco_frcnn_r101.yaml").read_bytes(),
        lambda path: load_config(DetectionConfig, path, []),
        True,
        ".yaml",
    ),
    "labels": Kind(lambda folder: b"a/0.jpg dog\na/1.jpg cat\n", read_labels, True, ".txt"),
    "pickle": Kind(lambda folder: pickle.dumps(ARRAYS, 2), read_pickled_arrays, suffix=".pkl"),
    "pickle 5": Kind(lambda folder: pickle.dumps(ARRAYS, 5), read_pickled_arrays, suffix=".pkl"),
    "cifar": Kind(lambda folder: pickle.dumps({b"label_names": [b"a"] * 10}, 2), read_class_names),
    "torch": Kind(lambda folder: saved(lambda b: torch.save(TENSORS, b)), read_pickle, suffix=".pth"),
    "old torch": Kind(
        lambda folder: saved(lambda b: torch.save(TENSORS, b, _use_new_zipfile_serialization=False)),
        read_pickle,
        suffix=".pth",
    ),
    "shard": Kind(lambda folder: saved(shard), list_samples, suffix=".tar"),
    "caffemodel": Kind(
        lambda folder: written(lambda p: write_caffemodel(p, "n", [Layer("c", [torch.ones(2, 3)])]), folder),
        read_caffemodel,
        suffix=".caffemodel",
    ),
    "safetensors": Kind(
        lambda folder: to_safetensors(TENSORS, {"format": "pt"}), read_weights, True, ".safetensors"
    ),
    "safetensors header": Kind(
        lambda folder: to_safetensors(TENSORS, {"a": "b"}), read_header, True, ".safetensors"
    ),
    "scores": Kind(
        lambda folder: written(lambda p: save_scores(p, SCORES), folder, "made.npz"),
        load_scores,
        True,
        ".npz",
    ),
    "counted pictures": Kind(
        lambda folder: written(COUNTED.save, folder, "made.npz"), load_counted_pictures, suffix=".npz"
    ),
    "judged pictures": Kind(
        lambda folder: written(JUDGED.save, folder, "made.npz"), load_judged_pictures, suffix=".npz"
    ),
    **{
        f"picture {format}": Kind(lambda folder, format=format: picture(format), read_picture, suffix=".jpg")
        for format in FORMATS
    },
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_every_file_is_read_or_refused_in_one_line(tmp_path: Path, fuzzed: Callable[..., None], name: str):
    kind = KINDS[name]
    fuzzed(tmp_path / f"case{kind.suffix}", kind.make(tmp_path), kind.read, text=kind.text)
