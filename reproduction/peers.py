"""torchvision's parts put together to the same networks and detector as ours, to be timed beside them."""

import tempfile
from collections import OrderedDict
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN as PeerFasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.resnet import BasicBlock
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from backbones import WeightsHeader, create_model, create_trunk_and_head, save_weights
from backbones.norm import calibrate_batchnorm
from detection.model.c4 import build_c4
from detection.model.detector import FasterRCNN

NUM_CLASSES = 80
REGIONS, PROPOSALS = 32, 100  # trained on, and classified at inference, per picture


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
        state: of the ResNet-50.
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


def detectors(size: tuple[int, int]) -> tuple[FasterRCNN, PeerFasterRCNN]:
    """Ours and torchvision's C4 detector with equal weights, for pictures of `size`.

    The batch statistics come from a forward pass: with random weights and identity statistics activations
    explode and the proposals are few.
    """
    network = create_model("resnet50")
    calibrate_batchnorm(network, [torch.randn(2, 3, *size)])
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "resnet50.safetensors"
        header = WeightsHeader("resnet50", network.options, network.input_spec)
        save_weights(weights, network.state_dict(), header)
        trunk, head = create_trunk_and_head("resnet50", weights=weights, frozen_stages=2, norm="frozen")
    rpn, roi = {"post_nms_test": PROPOSALS}, {"regions_per_image": REGIONS}
    ours = build_c4(trunk, head, NUM_CLASSES, rpn=rpn, roi=roi)
    peer = peer_c4(network.state_dict(), size)
    copy_heads(ours, peer)
    return ours, peer


@torch.no_grad()
def copy_heads(ours: FasterRCNN, peer: PeerFasterRCNN) -> None:
    """Gives the peer our RPN and predictors; its box of the background class, never used, stays as it is."""
    rpn, predictor, heads = peer.rpn.head, peer.roi_heads.box_predictor, ours.roi_heads
    rpn.load_state_dict(dict(zip(rpn.state_dict(), ours.rpn.head.state_dict().values(), strict=True)))
    predictor.cls_score.load_state_dict(heads.classifier.state_dict())
    predictor.bbox_pred.weight[4:].copy_(heads.regressor.weight)
    predictor.bbox_pred.bias[4:].copy_(heads.regressor.bias)


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
