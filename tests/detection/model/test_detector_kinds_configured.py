"""Detectors of every kind, built from a configuration."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backbones import OptionError, save_weights
from backbones.lesion import find_blocks, without_blocks
from backbones.norm import fold_batchnorm
from detection.build import build_detector, detector_header, load_detector
from detection.config import DetectionConfig
from foundation.errors import UserError
from training.config import load_config

_FIVE_MAPS = [
    *("roi.size=4", "roi.channels=24", "detector.pyramid_channels=16"),
    "rpn.anchor_sizes=[16,32,64,128,256]",
]
KINDS = {
    "c4": ["roi.size=4"],
    "dc5": ["roi.size=4", "roi.channels=24"],
    "fpn": _FIVE_MAPS,
    "simple_fpn": _FIVE_MAPS,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", [False, True])
def test_every_kind_trains_and_comes_back_from_its_file(
    tiny_options: list[str],
    classifier_weights: Path,
    batches: Callable,
    tmp_path: Path,
    kind: str,
    mask: bool,
):
    options = [f"detector.kind={kind}", f"detector.mask={str(mask).lower()}", "detector.class_agnostic=true"]
    options += [
        *KINDS[kind],
        "mask.size=6",
        "mask.channels=8",
        "roi.regions_per_image=16",
        "roi.score_threshold=0.01",
    ]
    config = load_config(
        DetectionConfig, None, [*tiny_options, f"backbone.weights={classifier_weights}", *options]
    )
    model, batch = build_detector(config, 2), batches([(64, 96), (60, 80)], [3, 0], num_classes=2)
    masks = torch.full((2, batch.boxes.shape[1], *batch.images.shape[2:3], 12), 255, dtype=torch.uint8)
    losses = model.train()(replace(batch, masks=masks if mask else None))
    assert ("loss_mask" in losses) == mask
    sum(losses.values()).backward()
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle
    file = tmp_path / "best.safetensors"
    header = detector_header(model, config, ["person", "dog"], {}, category_ids=[1, 18])
    save_weights(file, model.state_dict(), header)
    with torch.no_grad():
        found, expected = load_detector(file).model(batch), model.eval()(batch)
    assert found.valid.any() and torch.equal(found.boxes, expected.boxes)
    size = 4 if kind == "c4" else 12  # conv5 halves the grid, the head doubles it
    if mask:
        assert found.masks.shape == (*found.labels.shape, size, size)
        assert torch.equal(found.masks, expected.masks) and 0 <= found.masks.min() < found.masks.max() <= 1
    else:
        assert found.masks is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["rpn.anchor_sizes=[32,64]"], r"\[32.0, 64.0\] cannot be dealt out to 5 feature maps.*5, 10"),
        (["backbone.name=resnet20_cifar"], "kind=fpn needs the features res2, .*unknown feature 'res5'"),
        (
            ["backbone.name=timm/vit_tiny_patch16_224"],
            r"unknown feature 'res2'.* \(detector.kind=simple_fpn takes a network of one map\)",
        ),
        (
            ["detector.kind=simple_fpn", "backbone.name=resnet20_cifar"],
            r"needs one map of stride 16, resnet20_cifar gives strides \[4\]",
        ),
        (["detector.kind=dc5", "backbone.dilation=[res4]"], r"dilates res5 alone.*\['res4'\]"),
        (["detector.kind=c4", "backbone.name=vgg16", "roi.size=7", "detector.mask=true"], "gives a vector"),
        (["detector.kind=c4", "backbone.name=vgg16", "roi.size=14"], "fc6 takes regions of 7x7, got 14x14"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_fit_is_refused_with_the_reason(
    tiny_options: list[str], options: list[str], message: str
):
    scratch = [
        "backbone.norm=batch",
        "backbone.frozen_stages=0",
        "detector.kind=fpn",
        *KINDS["fpn"],
        *options,
    ]
    with pytest.raises((UserError, OptionError), match=message):
        build_detector(load_config(DetectionConfig, None, [*tiny_options, *scratch]), 2)


def test_masks_are_not_learnt_from_a_batch_without(
    tiny_options: list[str], classifier_weights: Path, batches
):
    options = [f"backbone.weights={classifier_weights}", "detector.mask=true", "roi.size=4"]
    model = build_detector(load_config(DetectionConfig, None, [*tiny_options, *options]), 2)
    with pytest.raises(UserError, match="learns masks, and the batch has none"):
        model.train()(batches([(64, 96)], [3], num_classes=2))


@pytest.mark.parametrize(
    ("kind", "training"), [("c4", "joint"), ("c4", "two_stage"), ("dc5", "joint"), ("fpn", "joint")]
)
def test_blocks_of_every_trunk_and_head_can_be_left_out(
    tiny_options: list[str], classifier_weights: Path, batches: Callable, kind: str, training: str
):
    options = [f"detector.kind={kind}", f"training={training}", *KINDS[kind], "roi.score_threshold=0.0"]
    config = load_config(
        DetectionConfig, None, [*tiny_options, f"backbone.weights={classifier_weights}", *options]
    )
    model, batch = build_detector(config, 2).eval(), batches([(64, 96)], [3], num_classes=2)
    found = find_blocks(model)
    assert list(found) == [f"res{stage}.{place}" for stage in (2, 3, 4, 5) for place in (0, 1)]
    shared = {name for name, paths in found.items() if len(paths) == 1}
    # Two trunks have every block twice, but for the head per region.
    assert shared == (set(found) if training == "joint" else {"res5.0", "res5.1"})
    with torch.no_grad():
        whole = model(batch)
        for name in ("res2.1", "res5.1"):
            with without_blocks(model, [name]):
                without, folded = model(batch), fold_batchnorm(model)(batch)
            assert not torch.equal(without.scores, whole.scores)
            torch.testing.assert_close(without.scores, folded.scores, rtol=1e-3, atol=1e-4)
        assert torch.equal(model(batch).scores, whole.scores)
