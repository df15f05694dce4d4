"""Every picture of a set is searched once, in its order, by a folded copy without the auxiliary head."""

from pathlib import Path

import torch

from segmentation.config import SegmentationConfig
from segmentation.data.segmentation_sets import open_set
from segmentation.label_search import SearchOptions, search_labels
from segmentation.model.segmenters_by_name import create_model
from segmentation.set_search import folded_for_search, search_set
from training.config import load_config


def test_every_picture_in_order(tmp_path: Path):
    options = ["data.kind=shapes", f"data.root={tmp_path / 'data'}", "data.short_side=32", "run.workers=0"]
    config = load_config(SegmentationConfig, None, options)
    dataset = open_set(config.data, "val")
    torch.manual_seed(0)
    network = create_model("fcn_resnet8_cifar", num_classes=11, output_stride=4, aux=True).train()
    seen: list[tuple[int, torch.Tensor]] = []

    def use(index: int, found: torch.Tensor, truth: torch.Tensor) -> None:
        assert found.shape == truth.shape == dataset.image_size(index)
        assert torch.equal(truth, torch.from_numpy(dataset.load_labels(index).copy()))
        seen.append((index, found))

    search_set(network, dataset, config, use)
    assert [index for index, _ in seen] == list(range(len(dataset)))
    assert network.training and network.aux_classifier is not None


def test_folding_changes_rounding_alone():
    torch.manual_seed(0)
    network = create_model("fcn_resnet8_cifar", num_classes=3, output_stride=4, aux=True).train()
    folded = folded_for_search(network)
    assert network.training and not folded.training
    network.eval()
    assert folded.aux_classifier is None and network.aux_classifier is not None
    image = torch.randint(0, 256, (3, 33, 40), dtype=torch.uint8)
    with torch.inference_mode():
        ours = search_labels(folded, image, SearchOptions(), short_side=None, bf16=False)
        theirs = network.whole_cells(network.input_spec.normalise(image[None]))["out"].argmax(dim=1)[0]
    assert (ours.long() != theirs).float().mean() < 0.01
