"""Small annotation files to break, the generated Shapes set, and the weights of a tiny detector."""

import contextlib
import copy
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from backbones import InputSpec, WeightsHeader, create_model, save_weights
from backbones.norm import set_norm_eps
from detection.build import build_detector, detector_header
from detection.config import DetectionConfig, DetectorConfig
from detection.data.annotations import DetectionDataset
from detection.data.dataset_splits import DataConfig, open_dataset
from detection.data.shapes_scenes import ShapesFolders, ensure_shapes
from detection.heads.mask_head import MaskConfig
from detection.heads.roi_options import RoiConfig
from detection.improve.inference_options import InferenceConfig
from detection.model.detector import DetectorOptions
from detection.model.rpn import RpnConfig
from training.config import load_config

# name, (xmin, ymin, xmax, ymax), difficult
VocObject = tuple[str, tuple[Any, Any, Any, Any], int]
VocWriter = Callable[..., Path]
CocoWriter = Callable[..., Path]


# An input specification and an epsilon that no default has.
CAFFE = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)
EPS = 1e-3


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> ShapesFolders:
    """All 300 pictures, in both layouts."""
    return ensure_shapes(tmp_path_factory.mktemp("shapes"))


def _xml(objects: Sequence[VocObject], size: tuple[int, int]) -> str:
    height, width = size
    nodes = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>"
        f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box, difficult in objects
    )
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{nodes}</annotation>"


@pytest.fixture
def write_voc(tmp_path: Path) -> VocWriter:
    """Writes annotations of pictures of 353 x 500 into VOCdevkit/VOC<year>; returns the VOCdevkit folder."""

    def write(
        objects: Mapping[str, Sequence[VocObject]],
        *,
        year: str = "2007",
        split: str = "train",
        size: tuple[int, int] = (500, 353),
    ) -> Path:
        folder = tmp_path / "VOCdevkit" / f"VOC{year}"
        for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in objects))
        for name, members in objects.items():
            (folder / "Annotations" / f"{name}.xml").write_text(_xml(members, size))
        return folder.parent

    return write


@pytest.fixture(scope="session")
def reference_stats() -> Callable[..., list[float]]:
    """COCO's twelve figures by pycocotools; for "segm" it sees no boxes of the records."""

    def score(
        annotations: dict[str, Any], records: Sequence[dict[str, Any]], iou_type: str = "bbox"
    ) -> list[float]:
        other = "segmentation" if iou_type == "bbox" else "bbox"
        found = [{key: value for key, value in record.items() if key != other} for record in records]
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = copy.deepcopy(annotations)
            truth.createIndex()
            evaluation = COCOeval(truth, truth.loadRes(found), iou_type)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation.stats.tolist()

    return score


@pytest.fixture(scope="session")
def detector_options() -> Callable[..., DetectorOptions]:
    """Options of a kind of detector; what is not given has its default, and without `mask` none are made."""

    def make(
        kind: str,
        *,
        rpn: dict,
        roi: dict,
        mask: dict | None = None,
        testing: dict | None = None,
        **detector: Any,
    ) -> DetectorOptions:
        return DetectionConfig(
            detector=DetectorConfig(kind, mask=mask is not None, **detector),
            rpn=RpnConfig(**rpn),
            roi=RoiConfig(**roi),
            mask=MaskConfig(**(mask or {})),
            testing=InferenceConfig(**(testing or {})),
        ).detector_options

    return make


@pytest.fixture(scope="session")
def tiny_options() -> list[str]:
    """What makes a detector of ResNet-18 take milliseconds on pictures of 6 x 4."""
    return [
        *("backbone.name=resnet18", "data.kind=coco", "data.short_side=64", "data.max_side=96"),
        *("data.train=train", "data.val=val", "rpn.anchor_sizes=[16, 32]", "rpn.channels=16"),
        *("rpn.post_nms_test=8", "roi.size=2", "run.device=cpu", "run.workers=0"),
        "run.pictures=false",
    ]


@pytest.fixture(scope="session")
def classifier_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a ResNet-18 that was trained on Caffe's pictures."""
    torch.manual_seed(0)
    network, file = create_model("resnet18"), tmp_path_factory.mktemp("classifier") / "resnet18.safetensors"
    header = WeightsHeader("resnet18", network.options, CAFFE, norm_eps=EPS)
    save_weights(file, network.state_dict(), header)
    return file


@pytest.fixture(scope="session")
def detector_weights(tmp_path_factory: pytest.TempPathFactory, tiny_options: list[str]) -> Path:
    """A tiny detector of persons and dogs that was trained on Caffe's pictures, on a GPU."""
    torch.manual_seed(0)
    scratch = ["backbone.norm=batch", "backbone.frozen_stages=0", "run.device=cuda"]
    config = load_config(DetectionConfig, None, [*tiny_options, *scratch])
    model, file = build_detector(config, 2), tmp_path_factory.mktemp("detector") / "best.safetensors"
    model.trunk.input_spec = CAFFE
    set_norm_eps(model, EPS)
    header = detector_header(model, config, ["person", "dog"], {"AP": 0.25}, category_ids=[1, 18])
    save_weights(file, model.state_dict(), header)
    return file


@pytest.fixture
def place(tmp_path: Path) -> Callable[[Mapping[str, str | None]], Path]:
    """place({name: text}) writes files into the folder it gives, for None a black picture of 20 x 10."""

    def write(files: Mapping[str, str | None]) -> Path:
        for name, text in files.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                Image.fromarray(np.zeros((10, 20, 3), dtype=np.uint8)).save(path)
            else:
                path.write_text(text)
        return tmp_path / "set"

    return write


@pytest.fixture
def opened() -> Callable[..., list[DetectionDataset]]:
    """opened(kind, root, key=value, …) gives the training and the validation split of a set."""

    def open_both(kind: str, root: Path, *, masks: bool = False, **data: object) -> list[DetectionDataset]:
        config = DataConfig(kind=kind, root=str(root), **data)  # type: ignore[arg-type]
        return [open_dataset(config, split, masks=masks) for split in (config.train, config.val)]

    return open_both


@pytest.fixture
def picture() -> Callable[[Path], Path]:
    """Writes a picture of 64 x 48 (width x height) pixels; gives its path."""

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(path)
        return path

    return write
