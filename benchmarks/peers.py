"""torchvision's parts put together to the same networks and detector as ours, to be timed beside them."""

import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
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
from detection.model.detector import FasterRCNN
from detection.model.detector_kinds import build_c4, build_fpn
from detection.model.roi_heads import RoiConfig
from detection.model.rpn import RpnConfig

NUM_CLASSES = 80
NETWORK = "resnet50"  # of all detectors
REGIONS, PROPOSALS = 32, 100  # trained on, and classified at inference, per picture; C4
# What torchvision has for pyramids, as far as our defaults are others.
FPN_RPN = RpnConfig(channels=256, pre_nms_train=2000, pre_nms_test=1000, post_nms_test=1000)
FPN_ROI = RoiConfig(regions_per_image=512, nms_threshold=0.5)


class PeerTrunk(nn.Module):
    """torchvision's ResNet-50 up to conv4, as its detector takes a backbone."""

    out_channels = 1024

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        names = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"]
        self.layers = nn.Sequential(*(getattr(network, name) for name in names))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) → {"0": (N, 1024, H / 16, W / 16)}."""
        return {"0": self.layers(images)}


def peer_rpn_head() -> RPNHead:
    """torchvision's, but with the 512 channels of Ren et al. 2015: it would keep the trunk's 1024."""
    head = RPNHead(512, num_anchors=9)
    head.conv[0][0] = nn.Conv2d(PeerTrunk.out_channels, 512, 3, padding=1)
    return head


def peer_c4(state: dict[str, Tensor], size: tuple[int, int]) -> PeerFasterRCNN:
    """torchvision's Faster R-CNN assembled as appendix A has it, with its own ResNet-50.

    Args:
        state: of the network.
        size: height and width of the pictures, which stay as they are.
    """
    network = torchvision.models.resnet50(norm_layer=FrozenBatchNorm2d)
    network.load_state_dict({name: value for name, value in state.items() if "num_batches" not in name})
    for layer in (network.conv1, network.layer1):
        layer.requires_grad_(False)
    return PeerFasterRCNN(
        PeerTrunk(network),
        min_size=min(size),
        max_size=max(size),
        rpn_anchor_generator=AnchorGenerator(((128, 256, 512),), ((0.5, 1.0, 2.0),)),
        rpn_head=peer_rpn_head(),
        rpn_pre_nms_top_n_train=12000,
        rpn_pre_nms_top_n_test=6000,
        rpn_post_nms_top_n_train=2000,
        rpn_post_nms_top_n_test=PROPOSALS,
        box_roi_pool=MultiScaleRoIAlign(["0"], 14, 2),
        box_head=nn.Sequential(network.layer4, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        box_predictor=FastRCNNPredictor(2048, NUM_CLASSES + 1),
        box_batch_size_per_image=REGIONS,
        box_nms_thresh=0.3,
    )


def peer_fpn(state: dict[str, Tensor], size: tuple[int, int], *, masks: bool) -> PeerFasterRCNN:
    """torchvision's Faster R-CNN or Mask R-CNN on a pyramid, as it builds them, with its own network.

    Args:
        state, size: as for `peer_c4`.
        masks: makes it Mask R-CNN.
    """
    backbone = resnet_fpn_backbone(backbone_name=NETWORK, weights=None, trainable_layers=3)
    body = {name: state[name] for name in backbone.body.state_dict()}
    backbone.body.load_state_dict(body)
    build = PeerMaskRCNN if masks else PeerFasterRCNN
    return build(
        backbone,
        NUM_CLASSES + 1,
        min_size=min(size),
        max_size=max(size),
        rpn_pre_nms_top_n_train=FPN_RPN.pre_nms_train,
        rpn_pre_nms_top_n_test=FPN_RPN.pre_nms_test,
        rpn_post_nms_top_n_train=FPN_RPN.post_nms_train,
        rpn_post_nms_top_n_test=FPN_RPN.post_nms_test,
        box_batch_size_per_image=FPN_ROI.regions_per_image,
        box_nms_thresh=FPN_ROI.nms_threshold,
        box_detections_per_img=FPN_ROI.detections_per_image,
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
        ours = _ours(kind, {"name": NETWORK, "weights": weights, "frozen_stages": 2, "norm": "frozen"})
    peer = peer_c4(state, size) if kind == "c4" else peer_fpn(state, size, masks=kind == "mask")
    copy_heads(ours, peer)
    if kind != "c4":
        copy_pyramid(ours, peer)
    return ours, peer


def _ours(kind: str, backbone: dict[str, Any]) -> FasterRCNN:
    if kind == "c4":
        trunk, head = create_trunk_and_head(**backbone)
        config = DetectionConfig(
            rpn=RpnConfig(post_nms_test=PROPOSALS), roi=RoiConfig(regions_per_image=REGIONS)
        )
        return build_c4(trunk, head, NUM_CLASSES, config.detector_options)
    network = create_backbone(**backbone, out_features=("res2", "res3", "res4", "res5"))
    detector = DetectorConfig("fpn", mask=kind == "mask")
    config = DetectionConfig(detector=detector, rpn=FPN_RPN, roi=FPN_ROI)
    return build_fpn(network, NUM_CLASSES, config.detector_options)


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
