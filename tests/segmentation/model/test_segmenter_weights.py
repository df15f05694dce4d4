"""Weight files of networks for semantic segmentation, ours and torchvision's."""

from pathlib import Path

import pytest
import torch
from torchvision.models import segmentation as theirs

from backbones import InputSpec, OptionError, WeightsError, load_network, read_weights, save_weights
from segmentation.model.segmenter_weights import segmenter_header
from segmentation.model.segmenters_by_name import create_model

NAME = "fcn_resnet18"
BGR = InputSpec((103.5, 116.3, 123.7), (1.0, 1.0, 1.0), order="BGR", range=255.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of a network with an auxiliary head and three classes, trained on BGR."""
    network = create_model(NAME, num_classes=3, aux=True)
    network.backbone.input_spec = BGR
    header = segmenter_header(
        network, classes=["ground", "cat", "dog"], dataset="Shapes", scores={"miou": 0.5}, config={"a": 1}
    )
    save_weights(tmp_path / "best.safetensors", network.state_dict(), header)
    return tmp_path / "best.safetensors"


def test_what_the_header_says(file: Path):
    _, header = read_weights(file)
    assert (header.model, header.classes, header.dataset) == (NAME, ["ground", "cat", "dog"], "Shapes")
    assert (header.score, header.config, header.input_spec) == ({"miou": 0.5}, {"a": 1}, BGR)
    assert header.options == {
        **{"num_classes": 3, "aux": True, "output_stride": 8},
        **{"shortcut": "B", "stride_on": "3x3", "zero_init_residual": False},
    }


def test_a_header_needs_a_name_for_every_class():
    with pytest.raises(OptionError, match="num_classes"):
        segmenter_header(create_model(NAME, num_classes=3), classes=["ground"])


@pytest.mark.parametrize("aux", [False, True])
def test_tensors_and_pictures_come_from_the_file(file: Path, aux: bool):
    network = create_model(NAME, num_classes=3, aux=aux, output_stride=16, norm="frozen", weights=file)
    state, _ = read_weights(file)
    assert network.input_spec == BGR
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("aux_loss", [False, True])
def test_files_of_torchvision_load_without_renaming(tmp_path: Path, aux_loss: bool, caplog):
    other = theirs.fcn_resnet50(weights=None, weights_backbone=None, num_classes=3, aux_loss=aux_loss)
    torch.save(other.state_dict(), tmp_path / "theirs.pth")
    network = create_model("fcn_resnet50", num_classes=3, weights=tmp_path / "theirs.pth")
    assert torch.equal(network.classifier[4].weight, other.classifier[4].weight)
    assert "has no header. Assumed: norm epsilon 1e-05, pictures as InputSpec(mean=(0.485," in caplog.text
    if not aux_loss:
        with pytest.raises(
            WeightsError, match="(?s)aux_classifier.* with an auxiliary head, or leave out aux"
        ):
            create_model("fcn_resnet50", num_classes=3, aux=True, weights=tmp_path / "theirs.pth")
    with pytest.raises(WeightsError, match="nothing says that it was trained with stride_on='1x1'"):
        create_model("fcn_resnet50", num_classes=3, stride_on="1x1", weights=tmp_path / "theirs.pth")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fcn_resnet34", {}, "is of fcn_resnet18, not of fcn_resnet34; give a file of fcn_resnet34"),
        (NAME, {"shortcut": "C"}, "was trained with shortcut='B', not 'C'; give shortcut='B'"),
        (NAME, {"stem_pool": "ceil"}, "was trained with stem_pool='padded', not 'ceil'"),
        (NAME, {"num_classes": 4}, r"classifier.4.weight: file \(3, .*a file of fcn_resnet18 for 4 classes"),
    ],
)  # fmt: skip
def test_files_of_other_networks_are_refused(file: Path, name: str, options: dict, message: str):
    with pytest.raises(WeightsError, match=f"(?s){message}"):
        create_model(name, **{"num_classes": 3, **options}, weights=file)


def test_no_classifier_is_read_from_it(file: Path):
    with pytest.raises(WeightsError, match="names one of our networks, found that of a fcn_resnet18"):
        load_network(file)
