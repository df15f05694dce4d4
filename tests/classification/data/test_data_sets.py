"""Which data sets there are, what can be asked of them, and how another one is added."""

import io
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from classification.config import PretrainConfig
from classification.data.data_sets import OPENERS, DataConfig
from classification.pretrain import pretrain
from foundation.errors import UserError
from training.config import dump_config, load_config

NEEDED = ["model.name=resnet50", "data.kind=folder", "schedule.total_steps=10"]


@pytest.mark.parametrize(
    "option",
    [
        *("image_size=32", "resize=300", "augment=inception", "short_side=[64,80]", "pca_colour=0"),
        *("eval_size=32", "policy=trivial", "erase=0.1"),
    ],
)
def test_cifar_refuses_what_does_not_apply(option):
    name = option.partition("=")[0]
    with pytest.raises(UserError, match=f"data: {name} does not apply to cifar10; leave it out"):
        load_config(PretrainConfig, None, [*NEEDED, "data.kind=cifar10", f"data.{option}"])


def test_a_dumped_cifar_config_loads_again(tmp_path):
    config = load_config(PretrainConfig, None, [*NEEDED, "data.kind=cifar10", "data.val_split=test"])
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(PretrainConfig, tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 257}, "image_size must be .* at most resize, got image_size 257 and resize 256"),
        ({"image_size": 0}, "got image_size 0 and resize 256"),
        ({"short_side": (200, 300)}, r"got \[200, 300\] and image_size 224"),
        ({"short_side": (300, 250)}, r"short_side must be a range .* got \[300, 250\]"),
        ({"pca_colour": -0.1}, "pca_colour must be from 0 to 10, got -0.1"),
        ({"pca_colour": math.nan}, "must be from 0 to 10, got nan"),
        ({"pca_colour": math.inf}, "must be from 0 to 10, got inf"),
        ({"augment": "inception", "short_side": (256, 480)}, r"short_side .* inception; .* \[256, 480\]"),
        ({"eval_size": 257}, "eval_size must be .* at most resize, got eval_size 257 and resize 256"),
        ({"eval_size": 0}, "got eval_size 0 and resize 256"),
        ({"image_size": 0, "eval_size": 224}, "image_size must be positive, got 0"),
        ({"policy": "rand-m7-foo3"}, 'policy must be "trivial", .* got \'rand-m7-foo3\''),
        ({"policy": "trivia"}, "got 'trivia'"),
        ({"erase": 1.5}, "erase must be from 0 to 1, got 1.5"),
    ],
)  # fmt: skip
def test_impossible_pictures_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(kind="folder", **options)


@pytest.mark.parametrize(
    "option",
    ["m7.5", "m11", "n0", "n1.5", "p1.5", "p2", "p.5", "mmax3.5", "mstd", "inc0", "inc2", "foo3", ""],
)
def test_options_that_mean_nothing_to_timm_are_refused(option):
    with pytest.raises(UserError, match=f"as \"rand-m7-mstd0.5-inc1\" .* got 'rand-m9-{option}'"):
        DataConfig(kind="folder", policy=f"rand-m9-{option}")


def test_the_whole_picture_may_be_the_crop():
    assert DataConfig(kind="shapes", image_size=64, resize=64).resize == 64


def test_evaluation_may_have_a_size_of_its_own():
    assert DataConfig(kind="folder").centre_size() == 224
    assert DataConfig(kind="folder", image_size=160, eval_size=224).centre_size() == 224
    assert DataConfig(kind="folder", image_size=300, eval_size=224).image_size == 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "huggingface"}, "root must be the name of the data set on the Hugging Face hub"),
        ({"kind": "folder", "label_column": "fine"}, "label_column belongs to kind huggingface, got folder"),
        ({"kind": "folders"}, "unknown kind 'folders'; did you mean 'folder'?"),
    ],
)
def test_what_a_kind_needs_or_refuses(options, message):
    with pytest.raises(UserError) as caught:
        DataConfig(**options)
    assert message in str(caught.value)


class Greys:
    """Six grey PNG pictures in memory, dark and light in turn: all that a new data set must offer."""

    def __init__(self, split: str) -> None:
        self.split, self.classes, self.labels = split, ["dark", "light"], torch.arange(6) % 2

    def name(self, index: int) -> str:
        return f"{self.split} {index}"

    def content(self, index: int) -> bytes:
        file = io.BytesIO()
        grey = 40 + 150 * int(self.labels[index])
        Image.fromarray(np.full((12, 12, 3), grey, np.uint8)).save(file, "PNG")
        return file.getvalue()


def test_a_data_set_is_added_by_a_reader_and_a_line_of_the_table(monkeypatch, tmp_path):
    monkeypatch.setitem(OPENERS, "greys", lambda config, split, training: Greys(split))
    options = [
        *("model.name=resnet8_cifar", "data.kind=greys", "data.image_size=8", "data.resize=10"),
        *("schedule.total_steps=1", "optim.batch_size=4", "run.device=cpu", "run.workers=0"),
    ]
    config = load_config(PretrainConfig, None, options)
    result = pretrain(config, tmp_path / "run")
    assert list(result["class_top1_error"]) == ["dark", "light"]
    data = json.loads((tmp_path / "run" / "result.json").read_text())
    assert data["pictures"] == 6
