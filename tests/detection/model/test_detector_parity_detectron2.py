"""Our R50-C4, Mask R-CNN on a pyramid and its cascade beside detectron2's own on equal weights.

Equal are proposals, detections and masks, the losses of regions, and the gradients that reach the pyramid.
What differs and is made equal here: detectron2 does not round anchors to whole pixels (all ratios but 1 would
differ by half a pixel), takes more samples in large regions (POOLER_SAMPLING_RATIO 0; ours is always 2), and
has L1 as the loss of boxes (SMOOTH_L1_BETA 0). Losses are compared on one picture, since detectron2's are
means over all regions of a batch, and ours over pictures.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backbones import create_backbone, create_model, create_trunk_and_head
from backbones.convert.detectron2_format import from_ours
from backbones.norm import calibrate_batchnorm, freeze_batchnorm
from detection.model.box_targets import Regions
from detection.model.detector import DetectorOptions, FasterRCNN
from detection.model.detector_kinds import build_c4, build_fpn
from detection.types import Batch

pytest.importorskip("detectron2", reason="needs detectron2; docs/detectron2.md says how to install it")
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

pytestmark = pytest.mark.detectron2
CLASSES, SIZE = 7, (160, 224)
# A large object, a middling one and a small one, and one that is not there.
BOXES = torch.tensor([[3.0, 2, 220, 155], [20, 30, 95, 110], [130, 50, 170, 85], [0, 0, 1, 1]])
LABELS = torch.tensor([2, 7, 1, 0])
RPN = {"anchor_ratios": (1.0,), "pre_nms_test": 300, "post_nms_test": 60}
ROI = {"score_threshold": 0.25, "nms_threshold": 0.5, "detections_per_image": 40}
COMMON = [
    *("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.RESNETS.STRIDE_IN_1X1", False),
    *("MODEL.PIXEL_MEAN", [123.675, 116.28, 103.53], "MODEL.PIXEL_STD", [58.395, 57.12, 57.375]),
    *("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[1.0]], "MODEL.ROI_HEADS.NUM_CLASSES", CLASSES),
    *("MODEL.RPN.PRE_NMS_TOPK_TEST", 300, "MODEL.RPN.POST_NMS_TOPK_TEST", 60),
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.25, "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 2),
    *("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", 2, "TEST.DETECTIONS_PER_IMAGE", 40),
    *("INPUT.FORMAT", "RGB", "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", 1.0),
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
# As misc/cascade_mask_rcnn_R_50_FPN: its IoUs 0.5, 0.6, 0.7 and weights are detectron2's defaults, and ours.
CASCADE = ["MODEL.ROI_HEADS.NAME", "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True]


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
    bring(model.rpn.head.objectness, hidden, 3.0)
    bring(model.rpn.head.deltas, hidden, 0.3)
    boxes = model.rpn(features, batch)[0].boxes
    for reader, _ in model.roi_heads.stages:
        vectors = reader.read(features, boxes, batch.sizes)[1]
        bring(reader.classifier, [vectors], 3.0)
        bring(reader.regressor, [vectors], 1.0)
    if model.roi_heads.mask_head is not None:
        model.roi_heads.mask_head.classifier.weight.mul_(300)


def bring(layer: nn.Linear | nn.Conv2d, inputs: list[Tensor], deviation: float) -> None:
    """Gives what the layer makes of the inputs that standard deviation."""
    layer.weight.mul_(deviation / torch.cat([layer(values).flatten() for values in inputs]).std())


def heads(model: FasterRCNN) -> dict[str, Tensor]:
    """The weights of our RPN and predictors under detectron2's names; its background is the last class."""
    rpn, roi = model.rpn.head, model.roi_heads
    tensors = {}
    state: dict[str, nn.Linear | nn.Conv2d | nn.ConvTranspose2d] = {
        "proposal_generator.rpn_head.conv": rpn.conv,
        "proposal_generator.rpn_head.anchor_deltas": rpn.deltas,
        "proposal_generator.rpn_head.objectness_logits": rpn.objectness,
    }
    for number, (reader, _) in enumerate(roi.stages):
        place = f".{number}" if roi.options.stages > 1 else ""
        state[f"roi_heads.box_predictor{place}.bbox_pred"] = reader.regressor
        for kind in ("weight", "bias"):
            values = getattr(reader.classifier, kind).roll(-1, dims=0)
            tensors[f"roi_heads.box_predictor{place}.cls_score.{kind}"] = values
        if roi.mask_head is not None:
            for i in (1, 2):
                state[f"roi_heads.box_head{place}.fc{i}"] = getattr(reader.region_features, f"fc{i + 5}")
    if roi.mask_head is not None:
        state |= {
            f"roi_heads.mask_head.mask_fcn{i + 1}": c[0] for i, c in enumerate(roi.mask_head.convolutions)
        }
        state |= {"roi_heads.mask_head.deconv": roi.mask_head.upsample}
        state |= {"roi_heads.mask_head.predictor": roi.mask_head.classifier}
    return tensors | {
        f"{name}.{kind}": getattr(layer, kind) for name, layer in state.items() for kind in ("weight", "bias")
    }


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


@pytest.fixture(params=[1, 3], ids=["one stage", "cascade"])
def pyramids(
    request: pytest.FixtureRequest,
    batches: Callable[..., Batch],
    detector_options: Callable[..., DetectorOptions],
) -> tuple[FasterRCNN, Any]:
    """Ours and detectron2's Mask R-CNN of so many stages with the same weights."""
    state, stages = resnet_state(), request.param
    network = create_backbone("resnet50", out_features=("res2", "res3", "res4", "res5"))
    network.load_state_dict({name: value for name, value in state.items() if name in network.state_dict()})
    rpn = RPN | {"anchor_sizes": (16.0, 32.0, 64.0, 128.0, 256.0), "channels": 256}
    roi = ROI | {"stages": stages}
    options = detector_options("fpn", rpn=rpn, roi=roi, mask={}, class_agnostic=stages > 1)
    ours = freeze_batchnorm(build_fpn(network, CLASSES, options)).eval()
    scale(ours, batches([SIZE, SIZE], [0, 0]))
    peer = theirs(PYRAMID + CASCADE * (stages > 1))
    body = {name: value for name, value in from_ours(state).items() if not name.startswith(("fc", "linear"))}
    backbone = {f"backbone.bottom_up.{name}": value for name, value in body.items()}
    fpn = ours.trunk.fpn
    for level, (inner, layer) in enumerate(zip(fpn.inner_blocks, fpn.layer_blocks, strict=True), start=2):
        for kind in ("weight", "bias"):
            backbone[f"backbone.fpn_lateral{level}.{kind}"] = getattr(inner[0], kind)
            backbone[f"backbone.fpn_output{level}.{kind}"] = getattr(layer[0], kind)
    load(peer, backbone | heads(ours))
    return ours, peer


def test_mask_rcnn_on_a_pyramid(pyramids: tuple[FasterRCNN, Any], batches: Callable[..., Batch]):
    compare(*pyramids, batches([SIZE, SIZE], [0, 0]))


def test_losses_of_regions_and_their_gradients(
    pyramids: tuple[FasterRCNN, Any], batches: Callable[..., Batch]
):
    ours, peer = pyramids
    masks = torch.from_numpy(np.packbits(ellipses(BOXES), axis=-1))[None]
    batch = replace(
        batches([SIZE], [3]), boxes=BOXES[None], labels=LABELS[None], valid=LABELS[None] > 0, masks=masks
    )
    with torch.no_grad():
        features = ours.extract(batch)
        proposals, _ = ours.rpn(features, batch)
        for reader, _ in ours.roi_heads.stages:  # boxes that move less are objects for a strict stage, too
            reader.regressor.weight.mul_(0.3)
    load(peer, peer.state_dict() | heads(ours))
    mine, others = ([level.clone().requires_grad_() for level in features] for _ in range(2))
    losses = ours.roi_heads.train().losses(mine, proposals, batch)
    expected = their_losses(peer.roi_heads.train(), others, ours.roi_heads.sample_regions(proposals, batch))
    assert len(losses) == len(expected) == 2 * ours.roi_heads.options.stages + 1
    assert min(losses.values()) > 0.001
    mask, their_mask = losses.pop("loss_mask"), expected.pop("loss_mask")
    torch.testing.assert_close(list(losses.values()), list(expected.values()), rtol=1e-4, atol=1e-5)
    same_gradient(sum(losses.values()), mine, sum(expected.values()), others, 1e-4)
    # A few cells at the rim of an object differ: detectron2 pools its mask there, ours counts points.
    torch.testing.assert_close(mask, their_mask, rtol=0.01, atol=0)
    same_gradient(mask, mine, their_mask, others, 0.1)


def their_losses(roi_heads: Any, features: list[Tensor], sampled: Regions) -> dict[str, Tensor]:
    """What detectron2's heads say of the regions that ours have sampled of the picture."""
    boxes, labels, _, objects, valid = (values[0] for values in sampled)
    given = Instances(SIZE, proposal_boxes=Boxes(boxes), gt_classes=(labels - 1) % (CLASSES + 1))
    given.gt_boxes = Boxes(BOXES[objects])
    given.gt_masks = BitMasks(torch.from_numpy(ellipses(BOXES))[objects])
    truth = Instances(SIZE, gt_boxes=Boxes(BOXES[LABELS > 0]), gt_classes=LABELS[LABELS > 0] - 1)
    maps = dict(zip(("p2", "p3", "p4", "p5", "p6"), features, strict=True))
    with EventStorage():
        boxes_of = partial(roi_heads._forward_box, maps, [given[valid]])
        losses = boxes_of([truth]) if hasattr(roi_heads, "num_cascade_stages") else boxes_of()
        return losses | roi_heads._forward_mask(maps, [given[valid]])


def same_gradient(
    loss: Tensor, levels: list[Tensor], other: Tensor, others: list[Tensor], tolerance: float
) -> None:
    """That of the two finest levels, from which the regions are read, by the norm of the difference."""
    expected = torch.autograd.grad(other, others[:2], retain_graph=True)
    for ours, theirs in zip(torch.autograd.grad(loss, levels[:2], retain_graph=True), expected, strict=True):
        assert (ours - theirs).norm() < tolerance * theirs.norm()


def ellipses(boxes: Tensor) -> NDArray[np.bool_]:
    """(R, height, width), the ellipse within each box."""
    rows, columns = np.indices(SIZE) + 0.5
    x1, y1, x2, y2 = boxes.numpy().T[..., None, None]
    return ((2 * columns - x1 - x2) / (x2 - x1)) ** 2 + ((2 * rows - y1 - y2) / (y2 - y1)) ** 2 <= 1
