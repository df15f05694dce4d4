"""What can be asked of a detector beyond one look, and what is refused."""

import argparse

import pytest

from detection.improve.improve_options import (
    ONE_LOOK,
    Augmentations,
    ImproveOptions,
    add_improve_options,
    take_improve_options,
)
from foundation.errors import UserError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tiles": 0}, "tiles must be a side of 32 pixels or more, such as 800, got 0"),
        ({"tiles": -5}, "tiles must be a side of 32 pixels or more, such as 800, got -5"),
        ({"tiles": 800.0}, "such as 800, got 800.0"),
        ({"tiles": True}, "such as 800, got True"),
        (
            {"tiles": 800, "overlap": 1},
            "overlap must be a share of a tile's side from 0 to below 1, such as 0.2",
        ),
        ({"tiles": 800, "overlap": -0.1}, "from 0 to below 1, such as 0.2, got -0.1"),
        ({"tiles": 800, "overlap": float("nan")}, "from 0 to below 1, such as 0.2, got nan"),
        ({"tiles": 800, "overlap": "0.2"}, "from 0 to below 1, such as 0.2, got '0.2'"),
        ({"overlap": 0.2}, "overlap is of tiles: say how large they are, such as tiles 800, or leave it out"),
        ({"tta": "flip", "overlap": 0.2}, "overlap is of tiles"),
        ({"merge": "wbf"}, "there is only one: give tiles or tta, or leave it out"),
        ({"tiles": 800, "merge": "soft"}, "merge must be nms or wbf, got 'soft'"),
        ({"tta": "flop"}, r"unknown 'flop'.*flip"),
        ({"tta": ""}, "unknown ''"),
        ({"tta": "flip,"}, "unknown ''"),
        ({"tta": "flip=2"}, "unknown 'flip=2'"),
        ({"tta": ["flip"]}, r"tta must be text such as 'flip,scales', got \['flip'\]"),
        ({"tta": "flip,flip"}, "tta names flip twice, got 'flip,flip'; leave one out"),
        ({"tta": "scales,scales=400:600"}, "tta names scales twice"),
        ({"tta": "scales="}, "scales=: expected different short sides in pixels, as scales=400:600:800"),
        ({"tta": "scales=400:x"}, "scales=400:x: expected different short sides"),
        ({"tta": "scales=400:0"}, "expected different short sides"),
        ({"tta": "scales=400:400"}, "expected different short sides"),
        ({"tta": "scales=400"}, "one scale is no augmentation; .* data.short_side=400"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict, message: str):
    with pytest.raises(UserError, match=message):
        ImproveOptions(**given)


def test_words_of_augmentation():
    assert ImproveOptions(tta="flip").augmentations == Augmentations(flip=True)
    assert ImproveOptions(tta=" scales , flip").augmentations == Augmentations(True, ())
    assert ImproveOptions(tta="scales=400:600").augmentations == Augmentations(False, (400, 600))
    assert ONE_LOOK.augmentations == Augmentations() and not ONE_LOOK.anything


def test_result_files_say_the_defaults():
    assert ONE_LOOK.given() == {}
    assert ImproveOptions(tiles=800).given() == {"tiles": 800, "overlap": 0.2, "merge": "nms"}
    assert ImproveOptions(tiles=64, overlap=0).given() == {"tiles": 64, "overlap": 0, "merge": "nms"}
    assert ImproveOptions(tta="flip", merge="wbf").given() == {"tta": "flip", "merge": "wbf"}


def test_command_lines_give_the_same_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    add_improve_options(parser)
    text = ["--out", "a", "--tiles", "800", "--overlap", "0.3", "--tta", "flip,scales", "--merge", "wbf"]
    given = vars(parser.parse_args(text))
    assert take_improve_options(given) == ImproveOptions(800, 0.3, "flip,scales", "wbf")
    assert given == {"out": "a"}
    assert take_improve_options(vars(parser.parse_args([]))) == ONE_LOOK
