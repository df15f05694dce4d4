"""Our R50-C4, R50-FPN and Mask R-CNN beside detectron2's own on equal weights: proposals, detections, masks.

What differs and is made equal here: detectron2 does not round anchors to whole pixels (all ratios but 1 would
differ by half a pixel) and takes more samples in large regions (POOLER_SAMPLING_RATIO 0; ours is always 2).
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones import create_backbone, create_model, create_trunk_and_head
from backbones.convert.detectron2_format import from_ours
from backbones.norm import calibrate_batchnorm, freeze_batchnorm
from detection.model.detector import DetectorOptions, FasterRCNN
from detection.model.detector_kinds import build_c4, build_fpn
from detection.types import Batch

pytest.importorskip("detectron2", reason="needs detectron2; docs/detectron2.md says how to install it")
from detectron2.config import get_cfg
from detectron2.modeling import build_model

pytestmark = pytest.mark.detectron2
CLASSES, SIZE = 7, (160, 224)
RPN = {"anchor_ratios": (1.0,), "pre_nms_test": 300, "post_nms_test": 60}
ROI = {"score_threshold": 0.25, "nms_threshold": 0.5, "detections_per_image": 40}
COMMON = [
    *("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.RESNETS.STRIDE_IN_1X1", False),
    *("MODEL.PIXEL_MEAN", [123.675, 116.28, 103.53], "MODEL.PIXEL_STD", [58.395, 57.12, 57.375]),
    *("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[1.0]], "MODEL.ROI_HEADS.NUM_CLASSES", CLASSES),
    *("MODEL.RPN.PRE_NMS_TOPK_TEST", 300, "MODEL.RPN.POST_NMS_TOPK_TEST", 60),
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.25, "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 2),
    *("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", 2, "TEST.DETECTIONS_PER_IMAGE", 40),
    *("INPUT.FORMAT", "RGB"),
]
C4 = ["MODEL.ANCHOR_GENERATOR.SIZES", [[32, 64, 128]], "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 14]
PYRAMID = [
    *(
        "MODEL.BACKBONE.NAME",
        "build_resnet_fpn_backbone",
        "MODEL.FPN.IN_FEATURES",
        ["res2", "res3", "res4", "res5"],
    ),
    *("MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"]),
    *("MODEL.ANCHOR_GENERATOR.SIZES", [[16], [32], [64], [128], [256]]),
    *("MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4", "p5", "p6"], "MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
    *(
        "MODEL.ROI_HEADS.IN_FEATURES",
        ["p2", "p3", "p4", "p5"],
        "MODEL.ROI_BOX_HEAD.NAME",
        "FastRCNNConvFCHead",
    ),
    *("MODEL.ROI_BOX_HEAD.NUM_FC", 2, "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 7),
    *("MODEL.MASK_ON", True, "MODEL.ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsampleHead"),
    *("MODEL.ROI_MASK_HEAD.NUM_CONV", 4, "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", 14),
]


def theirs(values: list[Any]) -> nn.Module:
    cfg = get_cfg()
    cfg.merge_from_list([*COMMON, *values])
    return build_model(cfg).eval()


def resnet_state() -> dict[str, Tensor]:
    """A ResNet-50's, whose statistics are those of a picture: with others activations explode."""
    torch.manual_seed(0)
    network = create_model("resnet50")
    calibrate_batchnorm(network, [torch.randn(2, 3, *SIZE)])
    return network.state_dict()


@torch.no_grad()
def scale(model: FasterRCNN, batch: Batch) -> None:
    """Brings what random layers say to a size at which scores differ and boxes move a little."""
    features = model.extract(batch)
    hidden = [model.rpn.head.conv(level).relu() for level in features]
    boxes = model.rpn(features, batch)[0].boxes
    vectors = model.roi_heads.region_features.vectors(model.roi_heads.region_features.maps(features, boxes))
    for layer, inputs, deviation in (
        (model.rpn.head.objectness, hidden, 3.0), (model.rpn.head.deltas, hidden, 0.3),
        (model.roi_heads.classifier, [vectors], 3.0), (model.roi_heads.regressor, [vectors], 1.0),
    ):  # fmt: skip
        outputs = torch.cat([layer(values).flatten() for values in inputs])
        layer.weight.mul_(deviation / outputs.std())
    if model.roi_heads.mask_head is not None:
        model.roi_heads.mask_head.classifier.weight.mul_(300)


def heads(model: FasterRCNN) -> dict[str, Tensor]:
    """The weights of our RPN and predictors under detectron2's names; its background is the last class."""
    rpn, roi = model.rpn.head, model.roi_heads
    state = {
        "proposal_generator.rpn_head.conv": rpn.conv,
        "proposal_generator.rpn_head.anchor_deltas": rpn.deltas,
    }
    state |= {"proposal_generator.rpn_head.objectness_logits": rpn.objectness}
    state |= {"roi_heads.box_predictor.bbox_pred": roi.regressor}
    if roi.mask_head is not None:
        state |= {
            f"roi_heads.mask_head.mask_fcn{i + 1}": c[0] for i, c in enumerate(roi.mask_head.convolutions)
        }
        state |= {"roi_heads.mask_head.deconv": roi.mask_head.upsample}
        state |= {"roi_heads.mask_head.predictor": roi.mask_head.classifier}
        state |= {f"roi_heads.box_head.fc{i}": getattr(roi.region_features, f"fc{i + 5}") for i in (1, 2)}
    tensors = {
        f"{name}.{kind}": getattr(layer, kind) for name, layer in state.items() for kind in ("weight", "bias")
    }
    for kind in ("weight", "bias"):
        tensors[f"roi_heads.box_predictor.cls_score.{kind}"] = getattr(roi.classifier, kind).roll(-1, dims=0)
    return tensors


def load(model: nn.Module, state: dict[str, Tensor]) -> None:
    pixels = {name: value for name, value in model.state_dict().items() if name.startswith("pixel_")}
    missing, unexpected = model.load_state_dict(state | pixels, strict=True)
    assert not missing and not unexpected


def compare(ours: FasterRCNN, model: Any, batch: Batch) -> None:
    with torch.no_grad():
        features = ours.extract(batch)
        proposals, _ = ours.rpn(features, batch)
        found = ours(batch)
        inputs = [{"image": image} for image in batch.images]
        images = model.preprocess_image(inputs)
        maps = model.backbone(images.tensor)
        expected, _ = model.proposal_generator(images, maps, None)
        detected = model.inference(inputs, do_postprocess=False)
    for i in range(len(batch.images)):
        boxes = proposals.boxes[i][proposals.valid[i]]
        torch.testing.assert_close(boxes, expected[i].proposal_boxes.tensor, rtol=1e-4, atol=2e-2)
        valid, wanted = found.valid[i], detected[i]
        assert valid.sum() > 5
        assert (found.labels[i, valid] - 1).tolist() == wanted.pred_classes.tolist()
        torch.testing.assert_close(found.boxes[i, valid], wanted.pred_boxes.tensor, rtol=1e-4, atol=5e-2)
        torch.testing.assert_close(found.scores[i, valid], wanted.scores, rtol=1e-3, atol=1e-4)
        if found.masks is not None:
            torch.testing.assert_close(found.masks[i, valid], wanted.pred_masks[:, 0], rtol=1e-3, atol=5e-3)


def test_c4(batches: Callable[..., Batch], detector_options: Callable[..., DetectorOptions]):
    state = resnet_state()
    trunk, head = create_trunk_and_head("resnet50")
    for part in (trunk, head):
        part.load_state_dict({name: value for name, value in state.items() if name in part.state_dict()})
    rpn = RPN | {"anchor_sizes": (32.0, 64.0, 128.0), "channels": 1024}
    options = detector_options("c4", rpn=rpn, roi=ROI)
    ours = freeze_batchnorm(build_c4(trunk, head, CLASSES, options)).eval()
    batch = batches([SIZE, SIZE], [0, 0])
    scale(ours, batch)
    peer = theirs(C4)
    body = {name: value for name, value in from_ours(state).items() if not name.startswith(("fc", "linear"))}
    res5 = {f"roi_heads.{name}": value for name, value in body.items() if name.startswith("res5")}
    backbone = {f"backbone.{name}": value for name, value in body.items() if not name.startswith("res5")}
    load(peer, backbone | res5 | heads(ours))
    compare(ours, peer, batch)


def test_mask_rcnn_on_a_pyramid(
    batches: Callable[..., Batch], detector_options: Callable[..., DetectorOptions]
):
    state = resnet_state()
    network = create_backbone("resnet50", out_features=("res2", "res3", "res4", "res5"))
    network.load_state_dict({name: value for name, value in state.items() if name in network.state_dict()})
    rpn = RPN | {"anchor_sizes": (16.0, 32.0, 64.0, 128.0, 256.0), "channels": 256}
    options = detector_options("fpn", rpn=rpn, roi=ROI, mask={})
    ours = freeze_batchnorm(build_fpn(network, CLASSES, options)).eval()
    batch = batches([SIZE, SIZE], [0, 0])
    scale(ours, batch)
    peer = theirs(PYRAMID)
    body = {name: value for name, value in from_ours(state).items() if not name.startswith(("fc", "linear"))}
    backbone = {f"backbone.bottom_up.{name}": value for name, value in body.items()}
    fpn = ours.trunk.fpn
    for level, (inner, layer) in enumerate(zip(fpn.inner_blocks, fpn.layer_blocks, strict=True), start=2):
        for kind in ("weight", "bias"):
            backbone[f"backbone.fpn_lateral{level}.{kind}"] = getattr(inner[0], kind)
            backbone[f"backbone.fpn_output{level}.{kind}"] = getattr(layer[0], kind)
    load(peer, backbone | heads(ours))
    compare(ours, peer, batch)
