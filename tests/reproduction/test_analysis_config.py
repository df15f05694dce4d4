"""Options of the analyses: the pictures they are measured on, and overrides that would do nothing."""

import pytest

from backbones import IMAGENET_INPUT, WeightsHeader
from foundation.errors import UserError
from reproduction.analysis_config import read_config

DATA = {"kind": "folder", "root": "here", "train_split": "train", "val_split": "val"}
KNOWN = WeightsHeader("resnet20_cifar", {}, IMAGENET_INPUT, config={"data": DATA})
FOREIGN = WeightsHeader("resnet20_cifar", {}, IMAGENET_INPUT)


def test_pictures_are_those_of_the_first_network_that_knows_its_own():
    config = read_config("lesion", [FOREIGN, KNOWN], ["lesion.draws=3"])
    assert (config.data.kind, config.data.root, config.lesion.draws) == ("folder", "here", 3)
    cifar = read_config("lesion", [KNOWN], ["data.kind=cifar10"])
    assert (cifar.data.root, cifar.data.val_split) == (None, "test")


def test_what_would_do_nothing_is_refused():
    with pytest.raises(UserError, match="do not say what pictures they were trained on; name some"):
        read_config("lesion", [FOREIGN], [])
    with pytest.raises(UserError, match=r"paths.samples=5 belongs to tools/analyze.py paths and does noth"):
        read_config("lesion", [KNOWN], ["paths.samples=5"])
    with pytest.raises(UserError, match="seed must be"):
        read_config("lesion", [KNOWN], ["run.seed=-1"])
