"""Published detectors by name: torchvision's on COCO, converted into files of ours in the cache.

What stays different from torchvision: pictures are resized with antialiasing to sides rounded to the nearest
pixel, not down; masks are pasted without moving boxes to whole pixels; and the outputs of the ten ids that
COCO does not use, which never were to be large, are left out. On a picture of the network's own size the
detections are the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from backbones import WeightsError, load_into, read_weights, save_weights
from backbones.norm import set_norm_eps
from backbones.weights.downloads import converted, converted_place, place_of
from backbones.weights.published import published_name, published_weights
from backbones.weights.weight_files import read_header
from detection.build import assemble, detector_header
from detection.config import DetectionConfig
from detection.model.detector import FasterRCNN
from foundation.errors import suggest
from training.config import parse_config

CONVERSION = 1  # part of the names of converted files: raise it when the same file is converted otherwise
# torchvision sets the epsilon of these networks to 0. Ours must be above 0; this one changes no float32.
EPS = 1e-30
# Faster R-CNN as torchvision trained it; what is not here is as our defaults have it.
_CONFIG: dict[str, Any] = {
    "backbone": {"name": "resnet50"},
    "data": {"kind": "coco", "train": "train2017", "val": "val2017", "short_side": 800, "max_side": 1333},
    "rpn": {
        "channels": 256,
        "anchor_grid": "padded",
        "pre_nms_train": 2000,
        "pre_nms_test": 1000,
        "post_nms_test": 1000,
    },
    "roi": {"aligned": False, "regions_per_image": 512, "box_loss_beta": 1 / 9, "nms_threshold": 0.5},
}
# torchvision's names, those of its releases before 0.13 too, and ours.
_NAMES = {
    r"backbone\.body\.(.+)": r"trunk.body.\1",
    r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.(?:0\.)?(weight|bias)": r"trunk.fpn.\1_blocks.\2.0.\3",
    r"rpn\.head\.conv\.(?:0\.0\.)?(weight|bias)": r"rpn.head.conv.\1",
    r"rpn\.head\.cls_logits\.(.+)": r"rpn.head.objectness.\1",
    r"rpn\.head\.bbox_pred\.(.+)": r"rpn.head.deltas.\1",
    r"roi_heads\.box_head\.(.+)": r"roi_heads.region_features.\1",
    r"roi_heads\.box_predictor\.cls_score\.(.+)": r"roi_heads.classifier.\1",
    r"roi_heads\.box_predictor\.bbox_pred\.(.+)": r"roi_heads.regressor.\1",
    r"roi_heads\.mask_head\.(\d)\.0\.(.+)": r"roi_heads.mask_head.convolutions.\1.0.\2",
    r"roi_heads\.mask_predictor\.conv5_mask\.(.+)": r"roi_heads.mask_head.upsample.\1",
    r"roi_heads\.mask_predictor\.mask_fcn_logits\.(.+)": r"roi_heads.mask_head.classifier.\1",
}
_OLD_MASKS = r"roi_heads\.mask_head\.mask_fcn(\d)\.(.+)"


@dataclass(frozen=True)
class PublishedDetector:
    """A detector that its publisher has trained on COCO.

    Attributes:
        name: "<source>/<detector>.<tag>".
        url: of the file as its publisher has it.
        digest: the published digits of its SHA-256.
        mib: its size in MiB.
        scores: published AP of boxes and, with masks, of these, on COCO's val2017.
    """

    name: str
    url: str
    digest: str
    mib: float
    scores: Mapping[str, float]

    @property
    def mask(self) -> bool:
        """Whether it is a Mask R-CNN."""
        return "segm/AP" in self.scores

    @property
    def path(self) -> Path:
        """Where the converted file is, or will be."""
        return converted_place(self.name, CONVERSION)

    @property
    def is_cached(self) -> bool:
        """Whether nothing need be downloaded."""
        return self.path.is_file() or place_of(self.url).is_file()


def _torchvision(name: str, file: str, mib: float, **scores: float) -> PublishedDetector:
    url = f"https://download.pytorch.org/models/{file}"
    digest = file.removesuffix(".pth").rpartition("-")[2]
    scores = {name.replace("segm_", "segm/"): value for name, value in scores.items()}
    return PublishedDetector(f"torchvision/{name}", url, digest, mib, scores)


PUBLISHED_DETECTORS = {
    detector.name: detector
    for detector in (
        _torchvision(
            "fasterrcnn_resnet50_fpn.COCO_V1", "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", 159.743, AP=0.370
        ),
        _torchvision(
            "maskrcnn_resnet50_fpn.COCO_V1",
            "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
            169.84,
            AP=0.379,
            segm_AP=0.346,
        ),
    )
}
# Those of torchvision that no configuration here describes, and why.
_OTHERS = {
    "fasterrcnn_resnet50_fpn_v2": "its heads have convolutions with batch normalisation",
    "maskrcnn_resnet50_fpn_v2": "its heads have convolutions with batch normalisation",
    "fasterrcnn_mobilenet_v3_large_fpn": "its pyramid has two levels of a MobileNet",
    "fasterrcnn_mobilenet_v3_large_320_fpn": "its pyramid has two levels of a MobileNet",
    **dict.fromkeys(("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2"), "it is a RetinaNet"),
    **dict.fromkeys(("ssd300_vgg16", "ssdlite320_mobilenet_v3_large"), "it is an SSD"),
    "fcos_resnet50_fpn": "it is an FCOS",
    "keypointrcnn_resnet50_fpn": "it finds keypoints",
}


def list_detectors(pattern: str = "*") -> list[str]:
    """Names of the table that match a shell pattern."""
    return [name for name in PUBLISHED_DETECTORS if fnmatchcase(name, pattern)]


def find_detector(weights: str | Path) -> Path:
    """The file of a detector that is given by path or by published name, as `find_weights` of a backbone.

    Raises:
        WeightsError: there is no such detector, it cannot be had, or the cache cannot be written.
    """
    name = published_name(weights)
    if name is None:
        return Path(weights)
    if name not in PUBLISHED_DETECTORS:
        raise WeightsError(_refusal(name))
    detector = PUBLISHED_DETECTORS[name]
    return converted(detector.path, detector.url, detector.digest, partial(convert_detector, detector))


def refuse_detector(weights: str) -> None:
    """Raises a WeightsError where backbone.weights names a detector, of ours or a published one.

    Nothing is fetched, and files of other programs are not looked into.
    """
    known = weights in PUBLISHED_DETECTORS
    if not known and weights.endswith(".safetensors"):
        header = read_header(weights)
        known = header is not None and header.model == FasterRCNN.__name__
    if known:
        raise WeightsError(
            f"{weights} is a detector, not a backbone; start from it with model.weights={weights} in place "
            "of backbone.weights"
        )


def _refusal(name: str) -> str:
    if name in published_weights():
        return (
            f"{name} is a classifier, not a detector; a detector starts from it with backbone.weights={name}"
        )
    reason = _OTHERS.get(name.partition("/")[2].partition(".")[0])
    if reason:
        return f"{name} cannot be a detector of ours: {reason}; choose from {', '.join(PUBLISHED_DETECTORS)}"
    return f"unknown detector {name!r}{suggest(name, PUBLISHED_DETECTORS)}"


def convert_detector(detector: PublishedDetector, source: Path, target: Path) -> None:
    """Writes a publisher's file as one of ours.

    Raises:
        WeightsError: the file is broken, or does not hold this detector.
    """
    state, _ = read_weights(source)
    classes, ids = coco_classes()
    config = parse_config(
        DetectionConfig,
        {**_CONFIG, "detector": {"kind": "fpn", "mask": detector.mask}},
        source=detector.name,
    )
    model = assemble(config, len(classes), weights=None)
    set_norm_eps(model, EPS)
    try:
        load_into(model, from_torchvision(state, ids))
    except WeightsError as error:
        raise WeightsError(f"{source} → {detector.name}: {error}") from error
    header = detector_header(model, config, classes, detector.scores, category_ids=ids)
    save_weights(target, model.state_dict(), header)


def coco_classes() -> tuple[list[str], list[int]]:
    """COCO's 80 classes and their ids, as torchvision lists them among 91 outputs."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights  # only here: it takes a second

    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    ids = [i for i, name in enumerate(names) if i > 0 and name != "N/A"]
    return [names[i] for i in ids], ids


def from_torchvision(state: Mapping[str, Tensor], ids: Sequence[int]) -> dict[str, Tensor]:
    """The tensors of torchvision's Faster or Mask R-CNN on a pyramid under our names.

    Its outputs begin with the background, which has a box and a mask too; ours have neither.

    Args:
        state: by torchvision's names; unknown ones stay as they are.
        ids: the outputs that become our labels 1…K.
    """
    converted = {_our_name(name): tensor for name, tensor in state.items()}
    for leaf in ("weight", "bias"):
        for name, rows in (
            (f"roi_heads.classifier.{leaf}", [0, *ids]),
            (f"roi_heads.regressor.{leaf}", [4 * i + side for i in ids for side in range(4)]),
            (f"roi_heads.mask_head.classifier.{leaf}", list(ids)),
        ):
            if name in converted and max(rows) < len(converted[name]):
                converted[name] = converted[name][rows]
    return converted


def _our_name(name: str) -> str:
    if found := re.fullmatch(_OLD_MASKS, name):  # counted from 1
        return f"roi_heads.mask_head.convolutions.{int(found[1]) - 1}.0.{found[2]}"
    for pattern, ours in _NAMES.items():
        if found := re.fullmatch(pattern, name):
            return found.expand(ours)
    return name
