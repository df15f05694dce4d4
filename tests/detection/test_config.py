"""Defaults of a detector training, and that a file changes only what it says."""

from pathlib import Path

import pytest

from detection.config import DetectionConfig
from foundation.errors import UserError
from training.config import complete_config, differences, dump_config, load_config
from training.optim import scaled_lr


def test_defaults_are_appendix_a():
    config = load_config(DetectionConfig, None)
    # "8 images … 0.001 for 240k iterations and then 0.0001 for 80k"; ResNet-101 with fixed normalisation.
    assert (config.optim.batch_size, scaled_lr(config.optim)) == (8, 0.001)
    assert (config.schedule.kind, config.schedule.gamma) == ("step", 0.1)
    assert (config.schedule.milestones, config.schedule.total_steps) == ((240_000,), 320_000)
    assert (config.backbone.name, config.backbone.norm, config.metric) == ("resnet101", "frozen", "coco")
    # Ren et al. 2015, §3.3 and its code: 9 anchors, 256 a picture, half positive, 2000 and 300 proposals.
    rpn = config.rpn
    assert (rpn.anchor_sizes, rpn.anchor_ratios) == ((128, 256, 512), (0.5, 1, 2))
    assert (rpn.anchors_per_image, rpn.positive_fraction, rpn.nms_threshold) == (256, 0.5, 0.7)
    assert (rpn.pre_nms_train, rpn.post_nms_train) == (12000, 2000)
    assert (rpn.pre_nms_test, rpn.post_nms_test) == (6000, 300)
    # Girshick 2015, §2.3: 128 regions, a quarter of them objects; pictures of 600 up to 1000 pixels.
    assert (config.roi.regions_per_image, config.roi.positive_fraction) == (128, 0.25)
    assert (config.data.short_side, config.data.max_side, config.data.flip) == (600, 1000, True)


@pytest.mark.parametrize(
    ("kind", "size", "sizes", "limits"),
    [("dc5", 7, (128, 256, 512), (12000, 6000)), ("fpn", 7, (32, 64, 128, 256, 512), (2000, 1000))],
)
def test_what_is_left_open_suits_the_kind(
    kind: str, size: int, sizes: tuple[int, ...], limits: tuple[int, int]
):
    config = load_config(DetectionConfig, None, [f"detector.kind={kind}"])
    assert (config.roi.size, config.rpn.anchor_sizes) == (size, sizes)
    assert (config.rpn.pre_nms_train, config.rpn.pre_nms_test) == limits
    set_here = load_config(DetectionConfig, None, [f"detector.kind={kind}", "roi.size=9"])
    assert (set_here.roi.size, set_here.rpn) == (9, config.rpn)


def test_a_section_keeps_what_the_file_does_not_say(tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text("optim: {lr: 0.02}\n")
    optim = load_config(DetectionConfig, file).optim
    # Not the 256 that classification has: neither in the batch nor in what the rate is stated for.
    assert (optim.batch_size, optim.reference_batch, scaled_lr(optim)) == (8, 8, 0.02)
    doubled = load_config(DetectionConfig, file, ["optim.batch_size=16"]).optim
    assert scaled_lr(doubled) == 0.04


def test_a_schedule_of_ones_own_does_not_inherit_the_milestones(tmp_path: Path):
    schedule = load_config(DetectionConfig, None, ["schedule.total_steps=100"]).schedule
    assert (schedule.total_steps, schedule.milestones) == (100, ())
    with pytest.raises(UserError, match="total_steps must be positive, got 0; give it, or epochs"):
        load_config(DetectionConfig, None, ["schedule.gamma=0.5"])


def test_dump_reads_back_equal(tmp_path: Path):
    config = load_config(DetectionConfig, None, ["rpn.anchor_sizes=[16, 32.5]", "metric=voc07"])
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(DetectionConfig, tmp_path / "config.yaml") == config


def test_a_map_of_classes_is_written_and_read_and_changed(tmp_path: Path):
    file, start = tmp_path / "config.yaml", "model.weights=a.safetensors"
    given = [start, "model.category_map={pottedplant: potted plant, 'no': 'yes', '1': '2'}"]
    config = load_config(DetectionConfig, None, given)
    assert config.model.category_map == {"pottedplant": "potted plant", "no": "yes", "1": "2"}
    text = dump_config(config)
    file.write_text(text)
    assert load_config(DetectionConfig, file) == config
    assert complete_config(DetectionConfig, text, source="a") == text
    named = load_config(DetectionConfig, file, ["model.category_map=coco_to_voc"])
    assert named.model.category_map == "coco_to_voc"
    other = load_config(DetectionConfig, file, ["model.category_map.no=maybe"])
    assert differences(text, dump_config(other)) == ["model.category_map.no: yes before, maybe now"]
    # Without a detector to start from a map has no effect.
    with pytest.raises(UserError, match=r"set model\.weights, or model\.category_map=null"):
        load_config(DetectionConfig, file, ["model.weights=null"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.category_map=coco_voc", "model.category_map: unknown map 'coco_voc'; did you mean 'coco_to_"),
        ("model.category_map={sofa: 1}", "model.category_map: expected a valid string, got 1"),
        ("metric=voc", "metric: unknown metric 'voc'; did you mean 'voc12'?"),
        ("metric=[coco]", "metric: expected a valid string, got ['coco']"),
        ("detector.kind=fnp", "detector.kind: unknown kind of detector 'fnp'; did you mean 'fpn'?"),
        (
            "detector.kind=yolo",
            "detector.kind: unknown kind of detector 'yolo'; choose from c4, dc5, fpn, simple_fpn",
        ),
        ("data.kind=pascal", "data: unknown kind of data set 'pascal'; choose from voc, coco, yolo"),
        ("backbone.norm=group", "backbone.norm: expected 'frozen', 'batch' or 'sync', got 'group'"),
        ("roi.nms_treshold=0.5", "roi.nms_treshold: unknown key; did you mean 'roi.nms_threshold'?"),
        ("data.short_side=0", "data: short_side must be at least 1, got 0"),
        ("data.max_side=500", "data: max_side must be at least short_side 600, got 500"),
        (
            "data.train_short_sides=[640, 1200]",
            "data: train_short_sides must be from 1 to max_side 1000, got",
        ),
        ("data.train_short_sides=[0]", "data: train_short_sides must be from 1 to max_side 1000, got [0]"),
        ("data.jitter=[0.1, 2]", "data: jitter and crop belong together"),
        ("data.crop=512", "data: jitter and crop belong together"),
        ("data.jitter=[2, 1]", "data: jitter must be two ascending factors above 0, got [2.0, 1.0]"),
        ("data.jitter=[0, 1]", "data: jitter must be two ascending factors above 0"),
        ("data.jitter=[1]", "data: jitter must be two ascending factors above 0"),
        ("data.max_boxes=0", "data: max_boxes must be at least 1, got 0"),
        ("rpn.channels=0", "rpn: channels must be at least 1, got 0"),
        ("rpn.post_nms_test=0", "rpn: post_nms_test must be at least 1, got 0"),
        ("rpn.positive_fraction=1.5", "rpn: positive_fraction must be from 0 to 1, got 1.5"),
        ("rpn.nms_threshold=-0.1", "rpn: nms_threshold must be from 0 to 1, got -0.1"),
        ("rpn.min_size=-1", "rpn: min_size must be at least 0, got -1"),
        ("rpn.negative_iou=0.8", "rpn: negative_iou must be at most positive_iou 0.7, got 0.8"),
        ("rpn.anchor_sizes=[]", "rpn: anchor_sizes must be one or more numbers above 0, got []"),
        ("rpn.anchor_ratios=[1, 0]", "rpn: anchor_ratios must be one or more numbers above 0, got [1"),
        ("roi.size=0", "roi: size must be at least 1, got 0"),
        ("roi.regions_per_image=-3", "roi: regions_per_image must be at least 1, got -3"),
        ("roi.score_threshold=.nan", "roi: score_threshold must be from 0 to 1, got nan"),
        ("roi.negative_floor=0.6", "roi: negative_floor must be from 0 to 0.5, got 0.6"),
    ],
)
def test_mistakes_are_explained(override: str, message: str):
    with pytest.raises(UserError) as refused:
        load_config(DetectionConfig, None, [override])
    assert message in str(refused.value)


def test_two_ways_to_choose_a_size_exclude_each_other():
    options = ["data.jitter=[0.1, 2]", "data.crop=1024"]
    assert load_config(DetectionConfig, None, options).data.jitter == (0.1, 2.0)
    with pytest.raises(UserError, match="train_short_sides has no effect with jitter"):
        load_config(DetectionConfig, None, [*options, "data.train_short_sides=[640]"])


def test_a_detector_to_start_from_replaces_the_files_backbone_weights(tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text("backbone: {weights: a.safetensors, name: resnet50}\nschedule: {total_steps: 9}\n")
    config = load_config(DetectionConfig, file, ["model.weights=b.safetensors"])
    assert (config.model.weights, config.backbone.weights) == ("b.safetensors", None)
    assert config.backbone.name == "resnet50"
    file.write_text("model: {weights: b.safetensors}\nschedule: {total_steps: 9}\n")
    config = load_config(DetectionConfig, file, ["backbone.weights=a.safetensors"])
    assert (config.model.weights, config.backbone.weights) == (None, "a.safetensors")
    both = ["model.weights=b.safetensors", "backbone.weights=a.safetensors"]
    with pytest.raises(
        UserError, match=r"b.safetensors and backbone.weights=a.safetensors exclude each other"
    ):
        load_config(DetectionConfig, file, both)
