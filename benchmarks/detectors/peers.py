"""torchvision's parts put together to the same networks and detector as ours, to be timed beside them."""

import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FasterRCNN as PeerFasterRCNN
from torchvision.models.detection import MaskRCNN as PeerMaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.resnet import BasicBlock
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from backbones import WeightsHeader, create_backbone, create_model, create_trunk_and_head, save_weights
from backbones.norm import calibrate_batchnorm
from backbones.pyramid import Pyramid
from detection.config import DetectionConfig, DetectorConfig
from detection.heads.roi_options import RoiConfig
from detection.model.detector import FasterRCNN
from detection.model.detector_kinds import build_c4, build_fpn
from detection.model.rpn import RpnConfig

NUM_CLASSES = 80
NETWORK = "resnet50"  # of all detectors
# Regions trained on, and proposals classified at inference, per picture.
C4_RPN = RpnConfig(pre_nms_train=12000, pre_nms_test=6000, post_nms_test=100)
C4_ROI = RoiConfig(regions_per_image=32)
# What torchvision has for pyramids, as far as our defaults are others.
FPN_RPN = RpnConfig(channels=256, pre_nms_train=2000, pre_nms_test=1000, post_nms_test=1000)
FPN_ROI = RoiConfig(regions_per_image=512, nms_threshold=0.5)


def peer_detector(kind: str, state: dict[str, Tensor], size: tuple[int, int]) -> PeerFasterRCNN:
    """torchvision's detector on its own network; on a pyramid as it builds them, C4 as appendix A has it.

    Args:
        kind: as of `detectors`.
        state: of the network.
        size: height and width of the pictures, which stay as they are.
    """
    rpn, roi = (C4_RPN, C4_ROI) if kind == "c4" else (FPN_RPN, FPN_ROI)
    options = {
        "min_size": min(size),
        "max_size": max(size),
        "rpn_pre_nms_top_n_train": rpn.pre_nms_train,
        "rpn_pre_nms_top_n_test": rpn.pre_nms_test,
        "rpn_post_nms_top_n_train": rpn.post_nms_train,
        "rpn_post_nms_top_n_test": rpn.post_nms_test,
        "box_batch_size_per_image": roi.regions_per_image,
        "box_nms_thresh": roi.nms_threshold,
        "box_detections_per_img": roi.detections_per_image,
    }
    if kind != "c4":
        backbone = resnet_fpn_backbone(backbone_name=NETWORK, weights=None, trainable_layers=3)
        backbone.body.load_state_dict({name: state[name] for name in backbone.body.state_dict()})
        build = PeerMaskRCNN if kind == "mask" else PeerFasterRCNN
        return build(backbone, NUM_CLASSES + 1, **options)
    network = torchvision.models.resnet50(norm_layer=FrozenBatchNorm2d)
    network.load_state_dict({name: value for name, value in state.items() if "num_batches" not in name})
    for layer in (network.conv1, network.layer1):
        layer.requires_grad_(False)
    trunk = IntermediateLayerGetter(network, {"layer3": "0"})
    trunk.out_channels = 1024
    rpn_head = RPNHead(512, num_anchors=9)  # 512 channels as in Ren et al. 2015: it would keep the trunk's
    rpn_head.conv[0][0] = nn.Conv2d(1024, 512, 3, padding=1)
    return PeerFasterRCNN(
        trunk,
        rpn_anchor_generator=AnchorGenerator(((128, 256, 512),), ((0.5, 1.0, 2.0),)),
        rpn_head=rpn_head,
        box_roi_pool=MultiScaleRoIAlign(["0"], 14, 2),
        box_head=nn.Sequential(network.layer4, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        box_predictor=FastRCNNPredictor(2048, NUM_CLASSES + 1),
        **options,
    )


def detectors(size: tuple[int, int], kind: str = "c4") -> tuple[FasterRCNN, PeerFasterRCNN]:
    """Ours and torchvision's detector with equal weights, for pictures of `size`.

    The batch statistics come from a forward pass: with random weights and identity statistics activations
    explode and the proposals are few.

    Args:
        kind: "c4", "fpn", or "mask" for Mask R-CNN on a pyramid.
    """
    network = create_model(NETWORK)
    calibrate_batchnorm(network, [torch.randn(2, 3, *size)])
    state = network.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "backbone.safetensors"
        save_weights(weights, state, WeightsHeader(NETWORK, network.options, network.input_spec))
        backbone: dict[str, Any] = {"name": NETWORK, "weights": weights, "frozen_stages": 2, "norm": "frozen"}
        if kind == "c4":
            config = DetectionConfig(rpn=C4_RPN, roi=C4_ROI)
            ours = build_c4(*create_trunk_and_head(**backbone), NUM_CLASSES, config.detector_options)
        else:
            detector = DetectorConfig("fpn", mask=kind == "mask")
            config = DetectionConfig(detector=detector, rpn=FPN_RPN, roi=FPN_ROI)
            trunk = create_backbone(**backbone, out_features=("res2", "res3", "res4", "res5"))
            ours = build_fpn(trunk, NUM_CLASSES, config.detector_options)
    peer = peer_detector(kind, state, size)
    copy_heads(ours, peer)
    if kind != "c4":
        copy_pyramid(ours, peer)
    return ours, peer


@torch.no_grad()
def copy_heads(ours: FasterRCNN, peer: PeerFasterRCNN) -> None:
    """Gives the peer our RPN and predictors; its box of the background class, never used, stays as it is."""
    rpn, predictor, heads = peer.rpn.head, peer.roi_heads.box_predictor, ours.roi_heads
    rpn.load_state_dict(dict(zip(rpn.state_dict(), ours.rpn.head.state_dict().values(), strict=True)))
    predictor.cls_score.load_state_dict(heads.classifier.state_dict())
    predictor.bbox_pred.weight[4:].copy_(heads.regressor.weight)
    predictor.bbox_pred.bias[4:].copy_(heads.regressor.bias)


@torch.no_grad()
def copy_pyramid(ours: FasterRCNN, peer: PeerFasterRCNN) -> None:
    """Gives the peer our pyramid, fully connected layers and mask head."""
    assert isinstance(ours.trunk, Pyramid)
    peer.backbone.fpn.load_state_dict(ours.trunk.fpn.state_dict())
    regions, heads = ours.roi_heads.region_features, peer.roi_heads
    for name in ("fc6", "fc7"):
        heads.box_head.get_submodule(name).load_state_dict(regions.get_submodule(name).state_dict())
    mask_head = ours.roi_heads.mask_head
    if mask_head is not None:
        convolutions = mask_head.convolutions.state_dict().values()
        heads.mask_head.load_state_dict(dict(zip(heads.mask_head.state_dict(), convolutions, strict=True)))
        heads.mask_predictor.conv5_mask.load_state_dict(mask_head.upsample.state_dict())
        heads.mask_predictor.mask_fcn_logits.weight[1:] = mask_head.classifier.weight
        heads.mask_predictor.mask_fcn_logits.bias[1:] = mask_head.classifier.bias


def cifar_resnet(depth: int, num_classes: int = 10) -> nn.Sequential:
    """The CIFAR network of depth 6n+2 with option B, of torchvision's blocks; child names are ours."""
    layers = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(3, 16, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(16), relu=nn.ReLU(inplace=True)
    )
    in_channels = 16
    for stage, channels in enumerate((16, 32, 64), start=1):
        blocks = []
        for number in range((depth - 2) // 6):
            stride = 2 if stage > 1 and number == 0 else 1
            projection = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
            blocks.append(BasicBlock(in_channels, channels, stride, projection if stride == 2 else None))
            in_channels = channels
        layers[f"layer{stage}"] = nn.Sequential(*blocks)
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(64, num_classes))
    return nn.Sequential(layers)
