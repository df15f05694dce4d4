"""Tables 7 to 12 of He et al. 2015: what they print of detectors, and what trains and scores each row here.

The rows of Table 9 from the baseline on are an ablation: each adds one thing to the row before it.
"""

from dataclasses import dataclass, field

from reproduction.published.table_rows import HE_2015, Printed

Scores = dict[str, Printed]  # in per cent, by the names of our result.json
BASELINE_3 = "baseline+++"


@dataclass(frozen=True)
class DetectionRow:
    """One line of a table.

    Attributes:
        key: its name in `--rows` and of its folders.
        scores: what is printed of the split that the configuration scores on; empty where the paper has none.
        elsewhere: what is printed of other splits, by the name of their column.
        config: stem of the file in `configs/` that trains it.
        overrides: what the row switches on beyond its configuration. Those of the section `testing` change
            what a trained detector does with a picture, all others what is trained.
        networks: so many networks, trained with as many seeds, answer together.
    """

    label: str
    key: str
    scores: Scores
    config: str
    overrides: tuple[str, ...] = ()
    networks: int = 1
    elsewhere: dict[str, Scores] = field(default_factory=dict)


@dataclass(frozen=True)
class DetectionTable:
    """A table of the paper.

    Attributes:
        source: paper, number, section.
        scores: names of the columns in our result.json.
    """

    title: str
    source: str
    scores: tuple[str, ...]
    rows: tuple[DetectionRow, ...]


def _ap(ap50: float, ap: float) -> Scores:
    """COCO's two figures, AP@.5 and AP@[.5, .95]."""
    return {"AP50": Printed(ap50), "AP": Printed(ap)}


def _voc(label: str, key: str, value: float, config: str, voc12: float | None = None) -> DetectionRow:
    elsewhere = {} if voc12 is None else {"VOC 2012 test, trained on 07++12": {"mAP": Printed(voc12)}}
    return DetectionRow(label, key, {"mAP": Printed(value)}, config, elsewhere=elsewhere)


TEST_DEV = "test-dev, trained on train + val"
ILSVRC_TEST = "ImageNet DET test"
CONTEXT = ("testing.refine=1", "detector.context=true")
MULTI_SCALE = (*CONTEXT, "testing.scales=[200, 400, 600, 800, 1000]")

DETECTION_TABLES = {
    "7": DetectionTable(
        "Mean average precision on PASCAL VOC 2007 test, trained on VOC 2007 and 2012 trainval",
        f"{HE_2015}, Table 7, §4.3",
        ("mAP",),
        (
            _voc("VGG-16", "vgg16", 73.2, "voc0712_frcnn_vgg16", 70.4),
            _voc("ResNet-101", "resnet101", 76.4, "voc0712_frcnn_r101", 73.8),
        ),
    ),
    "8": DetectionTable(
        "Average precision on COCO 2014 val, trained on COCO 2014 train",
        f"{HE_2015}, Table 8, §4.3",
        ("AP50", "AP"),
        (
            DetectionRow("VGG-16", "vgg16", _ap(41.5, 21.2), "coco_frcnn_vgg16"),
            DetectionRow("ResNet-101", "resnet101", _ap(48.4, 27.2), "coco_frcnn_r101"),
        ),
    ),
    "9": DetectionTable(
        "Average precision on COCO 2014 val, trained on COCO 2014 train, one improvement after the other",
        f"{HE_2015}, Table 9, appendix B",
        ("AP50", "AP"),
        (
            DetectionRow("baseline, VGG-16", "vgg16", _ap(41.5, 21.2), "coco_frcnn_vgg16"),
            DetectionRow("baseline, ResNet-101", "baseline", _ap(48.4, 27.2), "coco_frcnn_r101"),
            DetectionRow("+ box refinement", "refinement", _ap(49.9, 29.9), "coco_frcnn_r101", CONTEXT[:1]),
            DetectionRow(
                *("+ context", "context", _ap(51.1, 30.0), "coco_frcnn_r101", CONTEXT),
                elsewhere={TEST_DEV: _ap(53.3, 32.2)},
            ),
            DetectionRow(
                *("+ multi-scale testing", "multi-scale", _ap(53.8, 32.5), "coco_frcnn_r101", MULTI_SCALE),
                elsewhere={TEST_DEV: _ap(55.7, 34.9)},
            ),
            DetectionRow(
                *("ensemble of three", "ensemble", {}, "coco_frcnn_r101", MULTI_SCALE, 3),
                elsewhere={TEST_DEV: _ap(59.0, 37.4)},
            ),
        ),
    ),
    # baseline+++: box refinement, context and multi-scale testing, trained on COCO and then on VOC.
    "10": DetectionTable(
        "Mean average precision on PASCAL VOC 2007 test; baseline+++ was trained on COCO and then on 07+12",
        f"{HE_2015}, Table 10, appendix B",
        ("mAP",),
        (
            _voc("baseline, VGG-16", "vgg16", 73.2, "voc0712_frcnn_vgg16"),
            _voc("baseline, ResNet-101", "baseline", 76.4, "voc0712_frcnn_r101"),
            _voc("baseline+++, ResNet-101", BASELINE_3, 85.6, "voc0712_frcnn_r101_coco"),
        ),
    ),
    "11": DetectionTable(
        "Mean average precision on PASCAL VOC 2012 test; baseline+++ was trained on COCO and then on 07++12",
        f"{HE_2015}, Table 11, appendix B",
        ("mAP",),
        tuple(
            DetectionRow(label, key, {}, config, elsewhere={"VOC 2012 test": {"mAP": Printed(value)}})
            for label, key, value, config in (
                ("baseline, VGG-16", "vgg16", 70.4, "voc0712pp_frcnn_vgg16"),
                ("baseline, ResNet-101", "baseline", 73.8, "voc0712pp_frcnn_r101"),
                ("baseline+++, ResNet-101", BASELINE_3, 83.8, "voc0712pp_frcnn_r101_coco"),
            )
        ),
    ),
    # "The same as that for MS COCO in Table 9". GoogLeNet's 43.9 on test, ILSVRC 2014, has no row here.
    "12": DetectionTable(
        "Mean average precision on ImageNet DET val2, trained on train and val1",
        f"{HE_2015}, Table 12, appendix B",
        ("mAP",),
        tuple(
            DetectionRow(
                *(label, key, {"mAP": Printed(val2)}, "imagenet_det_frcnn_r101", MULTI_SCALE, networks),
                elsewhere={ILSVRC_TEST: {"mAP": Printed(test)}},
            )
            for label, key, val2, test, networks in (
                ("single model, ResNet-101", "single", 60.5, 58.8, 1),
                ("ensemble of three", "ensemble", 63.6, 62.1, 3),
            )
        ),
    ),
}
