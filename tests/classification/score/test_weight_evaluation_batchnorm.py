"""Statistics estimated anew are those of training pictures, and their weights stand on their own."""

from dataclasses import replace

import pytest
import torch

from backbones import (
    IMAGENET_INPUT,
    create_backbone,
    create_model,
    read_weights,
    save_weights,
)
from classification.config import PretrainConfig
from classification.data.labelled_batches import evaluation_batches
from classification.data.opened_splits import open_split
from classification.score import weight_evaluation
from classification.score.weight_evaluation import score_weights
from foundation.errors import UserError
from tests.classification.score.conftest import expected
from training.config import load_config


def test_statistics_are_estimated_anew_from_training_pictures_as_in_evaluation(
    model, weights, data, tmp_path, caplog
):
    caplog.set_level("INFO")
    out = tmp_path / "out"
    result = score_weights(weights, [], out, reestimate_bn=1)
    assert "statistics of 7 layers from 12 training pictures" in caplog.text
    # By hand: all twelve training pictures, each the centre crop, as one batch that normalises itself.
    needed = ["model.name=x", "schedule.total_steps=1", *data, "data.val_split=train"]
    pictures = open_split(load_config(PretrainConfig, None, needed).data, training=False)
    (batch,) = evaluation_batches(pictures, 12, 0)
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 1.0  # the statistics become the batch's
    with torch.no_grad():
        model.train()(IMAGENET_INPUT.normalise(batch.images))
    assert result["scores"] == pytest.approx(expected(model.eval(), data)["scores"], rel=1e-5)
    state, header = read_weights(out / "reestimated.safetensors")
    for name, value in model.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5)
    before = read_weights(weights)
    assert not torch.equal(state["bn1.running_mean"], before[0]["bn1.running_mean"])
    assert torch.equal(state["layer1.0.conv1.weight"], before[0]["layer1.0.conv1.weight"])
    assert header == replace(before[1], score=result["scores"])


def test_reestimated_weights_score_and_start_a_backbone_as_they_are(model, weights, tmp_path):
    out = tmp_path / "out"
    result = score_weights(weights, [], out, reestimate_bn=1)
    assert score_weights(out / "reestimated.safetensors", [], None) == result
    state, _ = read_weights(out / "reestimated.safetensors")
    backbone = create_backbone("resnet8_cifar", weights=out / "reestimated.safetensors", norm="frozen")
    assert torch.equal(backbone.bn1.running_var, state["bn1.running_var"])
    # A file for others to read is written only where a folder is given.
    score_weights(weights, [], None, reestimate_bn=1)
    assert [path.name for path in weights.parent.iterdir()] == ["last.safetensors"]


def test_batches_are_a_fixed_random_choice_of_equal_size(model, weights, monkeypatch):
    seen = []

    def record(network, batches):
        seen.append([batch.flatten(1).sum(1) for batch in batches])

    monkeypatch.setattr(weight_evaluation, "SCORED_AT_ONCE", 5)
    monkeypatch.setattr(weight_evaluation, "calibrate_batchnorm", record)
    for seed in (0, 0, 1):
        score_weights(weights, [f"run.seed={seed}"], None, reestimate_bn=2)
    first, again, other = (torch.stack(batches) for batches in seen)
    assert first.shape == (2, 5) and len(first.unique()) == 10
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_what_cannot_be_reestimated_is_refused(model, weights, data, tmp_path):
    message = "train has 12 pictures, fewer than 2 batches of 12; give --reestimate-bn 1 or less"
    with pytest.raises(UserError, match=message):
        score_weights(weights, [], tmp_path / "out", reestimate_bn=2)
    gated = create_model("highway19_cifar", num_classes=3)
    _, header = read_weights(weights)
    config = {**header.config, "model": {"name": "highway19_cifar"}}
    header = replace(header, model="highway19_cifar", options=gated.options, config=config)
    save_weights(tmp_path / "gated.safetensors", gated.state_dict(), header)
    assert score_weights(tmp_path / "gated.safetensors", [], None)["pictures"] == 6
    with pytest.raises(UserError, match="highway19_cifar has no batch normalisation; leave out"):
        score_weights(tmp_path / "gated.safetensors", [], tmp_path / "out", reestimate_bn=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("protocol", ["centre", "ten-crop", "dense"])
def test_every_protocol_scores_the_network_with_new_statistics(model, weights, tmp_path, protocol):
    out = tmp_path / "out"
    result = score_weights(weights, [], out, protocol=protocol, reestimate_bn=1)
    again = score_weights(out / "reestimated.safetensors", [], None, protocol=protocol)
    assert again == result and result["protocol"] == protocol
    assert score_weights(weights, [], None, protocol=protocol)["scores"] != result["scores"]
