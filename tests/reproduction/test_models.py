"""The list of networks and their layer tables, against the paper's Table 1."""

import re

import pytest

from backbones import OptionError, list_models
from detection.published_detectors import list_detectors
from foundation.errors import UserError
from reproduction.models import detectors_overview, overview, stages, weights_listing, weights_overview
from reproduction.published.paper import ERRORS


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()]


def test_the_number_of_layers_is_the_one_in_the_name():
    slow_to_build = {"plain1202_cifar", "resnet1202_cifar", "preact_resnet1001_cifar"}
    names = [name for name in list_models() if not name.startswith("vgg") and name not in slow_to_build]
    _, _, *rows = cells(overview(names))
    assert [row[0] for row in rows] == names
    for name, layers, *_ in rows:
        assert layers == re.findall(r"\d+", name)[0]


def test_a_line_of_the_overview():
    (line,) = cells(overview(["resnet101"]))[2:]
    assert line[1:5] == ["101", "44.55", "7.80", "2 4 8 16 32"]
    assert line[5].startswith("21.75")


def test_every_published_error_is_of_a_network_that_exists():
    assert set(ERRORS) <= set(list_models())


def test_layers_of_table_1():
    table = stages("resnet50", stride_on="1x1")
    _, _, *rows = cells(table)
    assert [row[:3] for row in rows] == [
        ["stem", "112 x 112", "[7x7, 64]"],
        ["res2", "56 x 56", "[1x1, 64; 3x3, 64; 1x1, 256] x 3"],
        ["res3", "28 x 28", "[1x1, 128; 3x3, 128; 1x1, 512] x 4"],
        ["res4", "14 x 14", "[1x1, 256; 3x3, 256; 1x1, 1024] x 6"],
        ["res5", "7 x 7", "[1x1, 512; 3x3, 512; 1x1, 2048] x 3"],
        ["classifier", "1 x 1", "[linear, 1000]"],
    ]
    assert sum(int(row[4].replace(",", "")) for row in rows) == 3_857_973_248  # 3.8e9 in the paper


def test_stages_of_a_network_whose_layers_lie_in_one_module():
    names = [row[0] for row in cells(stages("vgg16"))[2:]]
    assert names == [*(f"conv{n}" for n in range(1, 6)), "classifier", "classifier"]


def test_an_unknown_name_is_refused_with_the_closest():
    with pytest.raises(OptionError, match="did you mean 'resnet50'"):
        stages("resnet51")


def test_published_weights_on_a_line_each(publisher):
    lines = weights_overview(["torchvision/resnet50.IMAGENET1K_V2", "msra/resnet101"]).splitlines()
    assert lines[2] == (
        "| torchvision/resnet50.IMAGENET1K_V2 | resnet50, stride on 3x3 | 80.86 | 232, 224 "
        "| RGB 0-1, mean 0.485, 0.456, 0.406 | 97.8 | BSD-3-Clause |  |"
    )
    assert "| resnet101, stride on 1x1 | 76.40 | 256, 224 | BGR 0-255, mean 103.53, 116.28," in lines[3]


def test_published_detectors_on_a_line_each(publisher):
    lines = detectors_overview(list_detectors("*rcnn_resnet50_fpn.*")).splitlines()
    assert lines[2] == "| torchvision/fasterrcnn_resnet50_fpn.COCO_V1 | 37.0 |  | 159.7 |  |"
    assert lines[3] == "| torchvision/maskrcnn_resnet50_fpn.COCO_V1 | 37.9 | 34.6 | 169.8 |  |"
    assert list_detectors("timm/*") == []


def test_a_listing_holds_timms_own_where_they_are_asked_for(publisher):
    assert weights_listing("timm/convnext_tiny.in12k") == "timm/convnext_tiny.in12k"
    table, last = weights_listing("*/resnet18.IMAGENET1K*").rsplit("\n", 1)
    assert "| torchvision/resnet18.IMAGENET1K_V1 |" in table and '"timm/*" also lists' in last
    with pytest.raises(UserError, match="no weights are called 'timm/convnext_tinny'; without a pattern"):
        weights_listing("timm/convnext_tinny")
