"""Our networks as backbones of torchvision's detectors, against its own on the same weights."""

import pytest
import torch
from torchvision.models.detection import FasterRCNN, RetinaNet, fasterrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.ssd import SSD, SSDHead

from backbones import InputSpec, OptionError, create_backbone
from backbones.adapters.torchvision import Pyramid, detector_arguments, normalisation

LEVELS = ("res2", "res3", "res4", "res5")
SMALL = {"min_size": 64, "max_size": 96, "rpn_pre_nms_top_n_train": 50, "rpn_pre_nms_top_n_test": 50}


def pictures_and_targets() -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.rand(3, 64, 80, generator=generator), torch.rand(3, 75, 64, generator=generator)]
    target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 48.0]]), "labels": torch.tensor([1])}
    return pictures, [target, target]


@pytest.mark.parametrize("features", [("res4",), ("res2", "res3", "res4", "res5")])
def test_faster_rcnn_learns_detects_and_reloads(features):
    torch.manual_seed(0)
    network = create_backbone("resnet18", out_features=features)
    backbone = network if len(features) == 1 else Pyramid(network, out_channels=32)
    model = FasterRCNN(backbone, 3, **detector_arguments(backbone), **SMALL)
    pictures, targets = pictures_and_targets()
    losses = model(pictures, targets)
    sum(losses.values()).backward()
    assert len(losses) == 4 and all(loss.isfinite() for loss in losses.values())
    assert network.conv1.weight.grad.abs().sum() > 0
    model.eval().roi_heads.score_thresh = 0.0
    found = model(pictures)
    assert all(len(picture["boxes"]) for picture in found)
    again = create_backbone("resnet18", out_features=features)
    again = again if len(features) == 1 else Pyramid(again, out_channels=32)
    copy = FasterRCNN(again, 3, **detector_arguments(again), **SMALL, box_score_thresh=0.0).eval()
    copy.load_state_dict(model.state_dict())
    for ours, theirs in zip(copy(pictures), found, strict=True):
        assert torch.equal(ours["boxes"], theirs["boxes"]) and torch.equal(ours["scores"], theirs["scores"])


def test_torchvisions_detector_files_fit():
    with torch.device("meta"):
        theirs = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        ours = Pyramid(create_backbone("resnet50", out_features=LEVELS, norm="frozen"))
        names = FasterRCNN(ours, 91, **detector_arguments(ours)).state_dict()
    # Without weights torchvision trains the backbone's normalisation, which then counts batches.
    expected = {name for name in theirs.state_dict() if not name.endswith("num_batches_tracked")}
    assert set(names) == expected


def test_anchors_are_those_of_torchvision():
    with torch.device("meta"):
        theirs = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).rpn.anchor_generator
    arguments = detector_arguments(Pyramid(create_backbone("resnet18", out_features=LEVELS)))
    assert arguments["rpn_anchor_generator"].sizes == theirs.sizes
    assert arguments["rpn_anchor_generator"].aspect_ratios == theirs.aspect_ratios
    assert arguments["box_roi_pool"].featmap_names == ["0", "1", "2", "3"]


def test_backbone_with_fpn_takes_ours_unchanged():
    network = create_backbone("resnet18", out_features=("res3", "res5")).eval()
    pyramid = BackboneWithFPN(network, {"layer2": "a", "layer4": "b"}, [128, 512], 16).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert {name: tuple(map.shape) for name, map in pyramid(images).items()} == {
            "a": (1, 16, 8, 8),
            "b": (1, 16, 2, 2),
            "pool": (1, 16, 1, 1),
        }
        body, own = pyramid.body(images), network(images)
    assert torch.equal(body["a"], own["res3"]) and torch.equal(body["b"], own["res5"])


def test_features_of_different_widths_need_a_pyramid():
    network = create_backbone("resnet18", out_features=("res3", "res4"))
    with pytest.raises(OptionError, match=r"^res3, res4 differ in channels \(\[128, 256\]\); ask for one"):
        detector_arguments(network)
    with pytest.raises(ValueError, match="backbone should contain an attribute out_channels"):
        FasterRCNN(network, 3)
    assert create_backbone("resnet50").out_channels == 1024


@pytest.mark.parametrize("joined", [False, True], ids=["features", "pyramid"])
def test_ssd_learns_and_detects_on_our_features(joined):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", out_features=("res3", "res4", "res5"))
    anchors, head = DefaultBoxGenerator([[2], [2], [2]]), None
    if joined:  # SSD wants a list of widths, pyramids have one
        backbone = Pyramid(backbone, out_channels=32)
        anchors = DefaultBoxGenerator([[2]] * 4)
        head = SSDHead([32] * 4, anchors.num_anchors_per_location(), 3)
    model = SSD(backbone, anchors, (96, 96), 3, head=head, **normalisation(backbone))
    images, targets = pictures_and_targets()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
    losses = []
    for _ in range(6):
        loss = sum(model(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert backbone.get_parameter("body.conv1.weight" if joined else "conv1.weight").grad.any()
    assert losses[-1] < 0.9 * losses[0]
    found = model.eval()(images)
    assert [sorted(each) for each in found] == [["boxes", "labels", "scores"]] * 2


def test_the_detector_normalises_as_the_network_wants():
    network = create_backbone("resnet18")
    network.input_spec = InputSpec(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0), range=255.0)
    for backbone in (network, Pyramid(network)):
        model = RetinaNet(backbone, 3, **normalisation(backbone))
        picture = torch.rand(3, 4, 4)
        expected = network.input_spec.normalise(picture[None] * 255)[0]
        torch.testing.assert_close(model.transform.normalize(picture), expected)


def test_bgr_is_refused():
    network = create_backbone("resnet18")
    network.input_spec = InputSpec(mean=(104.0, 117.0, 124.0), std=(1.0,) * 3, order="BGR", range=255.0)
    with pytest.raises(
        OptionError, match="this host feeds RGB, the network was trained on BGR; rewrite its first"
    ):
        detector_arguments(network)
