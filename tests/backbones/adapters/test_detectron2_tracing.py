"""Detectors of detectron2 on our pyramids are traced and exported, and compute what they did."""

from collections.abc import Callable

import pytest
import torch

pytest.importorskip("detectron2", reason="needs detectron2; docs/detectron2.md says how to install it")
from detectron2.export import TracingAdapter
from detectron2.modeling import build_model

pytestmark = pytest.mark.detectron2
FPN, RETINANET = "shapes_frcnn_r18_fpn", "shapes_retinanet_r18_fpn"


def picture(seed: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (3, 96, 128), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )


@pytest.mark.parametrize("name", [FPN, RETINANET])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_whole_detectors_are_traced(name: str, random_detector: Callable):
    torch.manual_seed(0)
    model = build_model(random_detector(name, "MODEL.RETINANET.SCORE_THRESH_TEST", 0.0)).eval()
    whole = None
    if name == FPN:  # as detectron2's export_model.py does: pasting into the picture cannot be traced

        def whole(model, inputs):
            return [{"instances": model.inference(inputs, do_postprocess=False)[0]}]

    with torch.no_grad():
        adapter = TracingAdapter(model, [{"image": picture(0)}], whole)
        traced = torch.jit.trace(adapter, adapter.flattened_inputs)
        expected, found = adapter(picture(1)), traced(picture(1))
    assert len(expected[0]) > 0
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", [FPN, RETINANET])
def test_pyramids_are_exported_for_any_size(name: str, random_detector: Callable):
    torch.manual_seed(0)
    pyramid = build_model(random_detector(name)).backbone.eval()
    sides = {axis: 32 * torch.export.Dim(f"side{axis}", min=5, max=30) for axis in (2, 3)}
    images = torch.randn(1, 3, 160, 192)
    program = torch.export.export(pyramid, (images,), dynamic_shapes=(sides,)).module()
    images = torch.randn(1, 3, 192, 160)
    with torch.no_grad():
        expected, found = pyramid(images), program(images)
    assert list(found) == list(expected) and all(
        torch.equal(found[level], expected[level]) for level in found
    )
