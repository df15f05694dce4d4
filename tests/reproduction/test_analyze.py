"""What is printed; the analyses themselves are in tests/pipeline."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.responses import measure_responses
from backbones import WeightsHeader, save_weights
from backbones import create_model as create_classifier
from foundation.errors import UserError
from pictures.decoding import load_image
from reproduction.analyze import analyze, describe_analysis
from segmentation.model.segmenter_weights import segmenter_header
from segmentation.model.segmenters_by_name import create_model


def test_figures_of_merit_are_printed_line_by_line():
    merit = {"weights": "w", "sha256": "0", "mean_std": 0.123456, "range": [1, 2], "swaps": [{"tau": 0.5}]}
    assert describe_analysis({"networks": {"resnet20_cifar": merit}}).splitlines() == [
        *("resnet20_cifar", "  mean std: 0.1235", "  range: 1 / 2", "  swaps: tau 0.5")
    ]


def test_the_trunk_of_a_network_for_segmentation_responds(tmp_path: Path):
    network = create_model("fcn_resnet20_cifar", num_classes=2, output_stride=4).eval()
    file, folder = tmp_path / "net.safetensors", tmp_path / "set" / "val" / "thing"
    header = segmenter_header(network, classes=["ground", "thing"], config={"data": {"kind": "voc"}})
    save_weights(file, network.state_dict(), header)
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    keys = ["data.kind=folder", f"data.root={tmp_path / 'set'}", "run.device=cpu"]
    result = analyze("responses", [file], tmp_path / "out", keys)
    assert result["networks"]["resnet20_cifar"]["layers"] == 19  # none of the head's
    with np.load(tmp_path / "out" / "resnet20_cifar.npz") as found:
        images = torch.from_numpy(load_image(folder / "a.png")).permute(2, 0, 1)[None]
        normalised = network.input_spec.normalise(images)
        expected = measure_responses(network.backbone, [(normalised, torch.zeros(1))])
        np.testing.assert_allclose(found["std"], expected["std"], rtol=1e-4)
    for name, more, message in (
        (
            "lesion",
            [],
            "lesion is measured on classifiers, .* tools/eval_seg.py --weights .* --without BLOCK",
        ),
        ("responses", ["untrained=true"], "untrained=true is for classifiers"),
    ):
        with pytest.raises(UserError, match=message):
            analyze(name, [file], tmp_path / "none", [*keys, *more])


@pytest.mark.parametrize("name", ["responses", "similarity", "receptive", "heatmap"])
def test_what_a_network_that_overflows_answers_is_no_figure(name: str, tmp_path: Path):
    torch.manual_seed(0)
    network = create_classifier("resnet8_cifar", num_classes=3)
    for parameter in network.parameters():
        parameter.data *= 1e9
    save_weights(
        tmp_path / "net.safetensors",
        network.state_dict(),
        WeightsHeader(network.name, network.options, network.input_spec),
    )
    folder = tmp_path / "val" / "thing"
    folder.mkdir(parents=True)
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    keys = ["data.kind=folder", f"data.root={tmp_path}", "run.device=cpu"]
    with pytest.raises(UserError, match="resnet8_cifar: .* cannot be told, since the network's outputs for"):
        analyze(name, [tmp_path / "net.safetensors"], tmp_path / "out", keys)
    assert not list((tmp_path / "out").glob("*.png"))
