"""Weight files are scored by what their own headers say, alone and together."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch

from backbones import (
    IMAGENET_INPUT,
    InputSpec,
    WeightsError,
    WeightsHeader,
    create_model,
    load_network,
    save_weights,
)
from classification.config import PretrainConfig
from classification.data.opened_splits import open_split
from classification.score import weight_evaluation as module
from classification.score.evaluation_report import describe
from classification.score.saved_scores import load_scores
from classification.score.weight_evaluation import score_ensemble, score_weights
from foundation.errors import UserError
from tests.classification.score.conftest import expected, same, write_weights
from training.config import load_config

BGR = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)


def test_the_header_alone_gives_the_score(model, weights, data):
    result = score_weights(weights, [], None)
    assert same(result, expected(model, data))
    assert (result["protocol"], result["pictures"]) == ("centre", 6)
    assert result["scores"].keys() == {"top1_error", "loss"}
    # A run folder's result.json says that the run ended: an evaluation must not put one beside the weights.
    assert [path.name for path in weights.parent.iterdir()] == ["last.safetensors"]


@pytest.mark.parametrize("option", [{"stem_pool": "ceil"}, {"dilation": ("res5",)}, {"stride_on": "1x1"}])
def test_every_option_of_the_network_reaches_it(option, weights, data):
    name = "resnet50" if "stride_on" in option else "resnet18"
    network = create_model(name, num_classes=3, **option).eval()
    written = [
        f"model.{key}={list(value) if isinstance(value, tuple) else value}" for key, value in option.items()
    ]
    base = ["schedule.total_steps=1", "run.device=cpu", "run.workers=0", "model.norm=sync"]
    config = load_config(PretrainConfig, None, [f"model.name={name}", *base, *written, *data])
    header = WeightsHeader(
        name, network.options, IMAGENET_INPUT, config=asdict(config), classes=["ape", "bee", "cow"]
    )
    weights.parent.mkdir()
    save_weights(weights, network.state_dict(), header)
    assert same(score_weights(weights, [], None), expected(network, data))


def test_overrides_and_out(model, weights, data, tmp_path):
    result = score_weights(weights, ["data.val_split=train"], tmp_path / "new" / "out")
    assert same(result, expected(model, [*data, "data.val_split=train"]))
    assert result["pictures"] == 12
    written = json.loads((tmp_path / "new" / "out" / "result.json").read_text())
    about = written.pop("evaluated")
    assert written == result
    assert about.keys() == {"weights", "sha256", "data"} and about["data"] == "folder train"
    assert not (weights.parent / "result.json").exists()


def test_pictures_are_given_as_the_header_wants_them(weights, data):
    weights.parent.mkdir()
    model = write_weights(weights, data, ["ape", "bee", "cow"], spec=BGR)
    assert same(score_weights(weights, [], None), expected(model, data, BGR))
    assert expected(model, data, BGR)["scores"]["loss"] != expected(model, data)["scores"]["loss"]


def test_cifar_is_scored_with_the_mean_of_its_training_pictures(cifar_root, tmp_path, monkeypatch):
    options = ["data.kind=cifar10", f"data.root={cifar_root}", "data.val_split=test"]
    needed = ["model.name=x", "schedule.total_steps=1"]
    pictures = open_split(load_config(PretrainConfig, None, [*needed, *options]).data, training=False)
    write_weights(tmp_path / "w.safetensors", options, pictures.classes, spec=pictures.input_spec)
    inputs = []

    def stand_in(network, batches, score, **_):
        network.forward = lambda images: inputs.append(images) or torch.zeros(len(images), 10)
        batch = next(iter(batches))
        return [(batch.ids, batch.labels, score(batch))]

    monkeypatch.setattr(module, "predict", stand_in)
    score_weights(tmp_path / "w.safetensors", [], None)
    # The mean's red is 30 / 255, picture 0 has red 1, 2, 3 at the beginning.
    torch.testing.assert_close(inputs[0][0, 0, 0, :3] * 255, torch.tensor([-29.0, -28, -27]))
    with pytest.raises(UserError, match="leave data.train_split as it was in training"):
        score_weights(tmp_path / "w.safetensors", ["data.train_split=train45k"], None)
    for protocol in ("ten-crop", "dense"):
        with pytest.raises(
            UserError, match=f"{protocol} cuts views of whole pictures, cifar10 has crops of one"
        ):
            score_weights(tmp_path / "w.safetensors", [], None, protocol=protocol)


def test_a_network_that_names_no_classes_is_scored_on_named_data(model, weights, data, tmp_path, caplog):
    converted = tmp_path / "converted.safetensors"
    write_weights(converted, data, ["ape", "bee", "cow"], config={}, classes=[])
    with caplog.at_level("INFO"):
        result = score_weights(converted, [*data, "run.device=cpu"], tmp_path / "out")
    assert result == score_weights(weights, [], None)
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    del written["evaluated"]
    assert written == result
    assert "those of the data are its outputs, in their order, from 'ape' to 'cow'" in caplog.text
    for protocol in ("ten-crop", "dense"):
        theirs, ours = (
            score_weights(file, [*data, "run.device=cpu"], None, protocol=protocol)
            for file in (converted, weights)
        )
        assert theirs == ours
    # Other labels, and new statistics from the training pictures, which the new file has with its old header.
    ids = [f"{name}/{number}.png" for name in ("ape", "bee", "cow") for number in (0, 1)]
    (tmp_path / "labels.json").write_text(json.dumps(dict.fromkeys(ids, "cow")))
    options = {"labels": tmp_path / "labels.json", "reestimate_bn": 1}
    for file in (converted, weights):
        score_weights(file, [*data, "run.device=cpu"], tmp_path / file.stem, **options)
    again = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("converted", "last")]
    for file, written in zip((converted, weights), again, strict=True):
        assert written.pop("evaluated")["weights"] == str(file)
    assert again[0] == again[1] and again[0] != result
    assert load_network(tmp_path / "converted" / "reestimated.safetensors").name == "resnet8_cifar"


def test_reestimation_needs_training_pictures(data, tmp_path):
    write_weights(tmp_path / "w.safetensors", data, ["ape", "bee", "cow"], config={}, classes=[])
    with pytest.raises(UserError, match="no folder .*absent; expected one folder of pictures per class"):
        score_weights(tmp_path / "w.safetensors", [*data, "data.train_split=absent"], None, reestimate_bn=1)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["ape", "cat", "cow"], "knows 3 classes, the data has 3, the first that differ are 'cat' and 'bee'"),
        (["ape", "cow", "bee"], "the first that differ are 'cow' and 'bee'"),
        (["ape", "bee"], "knows 2 classes, the data has 3; choose data.kind, data.root and data.val_split"),
    ],
)  # fmt: skip
def test_data_with_other_classes_is_refused(weights, data, classes, message):
    weights.parent.mkdir()
    write_weights(weights, data, classes)
    with pytest.raises(UserError, match=message):
        score_weights(weights, [], weights.parent / "out")
    assert not (weights.parent / "out").exists()


def test_wrong_overrides_name_the_file(model, weights):
    with pytest.raises(UserError, match=r"last.safetensors:\n  data.val_spilt: unknown key; did you mean"):
        score_weights(weights, ["data.val_spilt=train"], None)
    with pytest.raises(WeightsError, match="is of resnet8_cifar, not of resnet14_cifar"):
        score_weights(weights, ["model.name=resnet14_cifar"], None)


def test_an_ensemble_of_saved_scores(model, weights, tmp_path):
    files = [tmp_path / f"{protocol}.npz" for protocol in ("centre", "ten-crop", "dense")]
    singles = [score_weights(weights, [], None, protocol=f.stem, save_logits=f) for f in files]
    assert singles[2]["scales"] == [16, 18, 27, 34, 46]  # the paper's, times 16 / 224
    # One file says what the weights said.
    assert same(score_ensemble(files[:1], None), {**singles[0], "protocol": "ensemble"})
    result = score_ensemble(files, tmp_path / "out")
    probabilities = torch.stack([load_scores(file).log_probabilities.exp() for file in files]).mean(0)
    right = probabilities.argmax(1) == load_scores(files[0]).labels
    assert result["scores"]["top1_error"] == pytest.approx(100 * (1 - right.float().mean().item()))
    assert result["scores"]["loss"] == pytest.approx(
        -probabilities[range(6), [0, 0, 1, 1, 2, 2]].log().mean()
    )
    assert [member["protocol"] for member in result["members"]] == ["centre", "ten-crop", "dense"]
    assert len({member["sha256"] for member in result["members"]}) == 1
    other = tmp_path / "train.npz"
    score_weights(weights, ["data.val_split=train"], None, save_logits=other)
    with pytest.raises(UserError, match="has 6 pictures, .*train.npz has 12, the first that differ are"):
        score_ensemble([files[0], other], None)


def test_other_labels_and_a_submission(model, weights, tmp_path):
    ids = [f"{name}/{number}.png" for name in ("ape", "bee", "cow") for number in (0, 1)]
    saved, out = tmp_path / "scores.npz", tmp_path / "out"
    score_weights(weights, [], None, save_logits=saved)
    best = load_scores(saved).log_probabilities.argmax(1).tolist()
    (tmp_path / "labels.json").write_text(
        json.dumps(dict(zip(ids, [[], *([b] for b in best[1:])], strict=True)))
    )
    (tmp_path / "map.txt").write_text("ape 7 monkey\nbee 5\ncow 6\n")
    files = {"labels": tmp_path / "labels.json", "submission": tmp_path / "map.txt"}
    result = score_weights(weights, [], out, **files)
    assert (result["scores"]["top1_error"], result["pictures"], result["left_out"]) == (0, 5, 1)
    assert result["labels"] == str(files["labels"])
    lines = (out / "submission.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["756"[best[i]] for i in (0, 2, 4, 1, 3, 5)]
    assert score_ensemble([saved], tmp_path / "again", **files)["scores"] == result["scores"]
    for name in ("submission.txt", "predictions.csv", "confusion.csv"):
        assert (tmp_path / "again" / name).read_text() == (out / name).read_text()


def test_what_is_wrong_is_said_before_anything_is_scored(model, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "predict", None)
    for options, message in (
        ({"protocol": "tencrop"}, "--protocol 'tencrop' is unknown; did you mean 'ten-crop'"),
        ({"scales": [224]}, "--scales are short sides in pixels for --protocol dense"),
        ({"labels": tmp_path / "absent.json"}, "absent.json: no such file"),
        (
            {"submission": tmp_path / "absent.txt"},
            "--submission writes submission.txt to the folder of --out",
        ),
        ({"save_logits": tmp_path / "scores"}, "give it a name that ends in .npz"),
        ({"reestimate_bn": 0}, "--reestimate-bn must be 1 or more batches, got 0"),
    ):
        with pytest.raises(UserError, match=message):
            score_weights(weights, [], None, **options)


def test_command_line(model, weights, root, tmp_path):
    command = [sys.executable, root / "tools" / "eval_cls.py", "--weights", weights, "--out", "here"]
    done = subprocess.run([*command, "run.device=cpu"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == describe(json.loads((tmp_path / "here" / "result.json").read_text())) + "\n"
