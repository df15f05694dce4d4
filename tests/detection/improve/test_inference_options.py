"""Which better answers a configuration may ask for."""

import pytest

from detection.config import DetectionConfig
from detection.improve.inference_options import InferenceConfig
from foundation.errors import UserError
from training.config import load_config


@pytest.mark.parametrize(
    ("options", "votes"),
    [({}, False), ({"refine": 1}, True), ({"refine": 1, "vote": False}, False), ({"vote": True}, True)],
)
def test_refined_boxes_are_voted_on_unless_told(options: dict, votes: bool):
    chosen = InferenceConfig(**options)
    assert chosen.votes is votes and chosen.given().get("vote", False) is votes


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("testing.scales=[600]", r"scales \[600\] is one, .* give two or more, or data.short_side=600"),
        ("testing.scales=[400,200]", r"rising short sides in pixels, as \[200, 400, 600\], got \[400, 200\]"),
        ("testing.scales=[200,200]", r"got \[200, 200\]"),
        ("testing.scales=[0,200]", r"got \[0, 200\]"),
        ("testing.refine=-1", "refine must be from 0 to 10, got -1"),
        ("testing.region_side=0", "region_side must be at least 1, got 0"),
        ("testing.refined=1", "did you mean 'testing.refine'"),
    ],
)
def test_what_cannot_be_meant_is_refused(override: str, message: str):
    with pytest.raises(UserError, match=message):
        load_config(DetectionConfig, None, [override])


def test_reading_several_scales_cannot_be_captured():
    with pytest.raises(UserError, match=r"cannot be captured; give run.cuda_graph=false, or testing.scales"):
        load_config(DetectionConfig, None, ["testing.scales=[200,400]", "run.cuda_graph=true"])
