"""The network in a checkpoint of others: keys, prefixes, averages, several networks, what cannot be read."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from backbones import WeightsError, create_model, read_weights
from backbones.convert import convert
from backbones.convert.checkpoint_layouts import find_network

PATH = Path("x.pth")
SAYS = {"source_format": "torchvision"}


def net(value: float = 0.0, prefix: str = "") -> dict[str, Tensor]:
    """The names by which a ResNet is known, and two more."""
    state = {"conv1.weight": torch.full((4, 3, 7, 7), value), "bn1.weight": torch.ones(4)}
    state |= {"layer1.0.conv1.weight": torch.full((4, 4, 3, 3), value), "fc.bias": torch.ones(2)}
    return {prefix + name: tensor for name, tensor in state.items()}


def refusal(content, part=None) -> str:
    with pytest.raises(WeightsError) as caught:
        find_network(PATH, content, part)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "taken_off", "num_beside"),
    [
        (net(), "", 0),
        ({"state_dict": net(prefix="module.")}, "'module.'", 0),
        (net(prefix="_orig_mod.module."), "'module.' and '_orig_mod.'", 0),
        (net(prefix="module._orig_mod.module._orig_mod."), "'module.' and '_orig_mod.'", 0),
        ({"state_dict": net(prefix="model."), "pytorch-lightning_version": "2.4.0"}, "'model.'", 0),
        ({"state_dict": net(prefix="model._orig_mod."), "epoch": 3}, "'_orig_mod.' and 'model.'", 0),
        (
            {"meta": {"epoch": 12}, "state_dict": net(prefix="backbone.") | {"neck.x.weight": torch.ones(1)}},
            "'backbone.'",
            1,
        ),
        (
            {"model": net(prefix="backbone.body.") | {"rpn.head.weight": torch.ones(1)}},
            "'backbone.body.'",
            1,
        ),
        ({"module": net(prefix="_fsdp_wrapped_module.")}, "'_fsdp_wrapped_module.'", 0),
        (
            {"state_dict": net(prefix="module.encoder.") | {"module.predictor.0.weight": torch.ones(1)}},
            "'module.' and 'encoder.'",
            1,
        ),
    ],
)
def test_prefixes_are_taken_off_and_said(content, taken_off, num_beside):
    found = find_network(PATH, content)
    assert found.tensors.keys() == net().keys() and len(found.beside) == num_beside
    assert found.note == (f"{taken_off} taken off the tensors' names" if taken_off else "")


def test_wrappers_of_parts():
    """torch.compile and DataParallel can wrap a layer, too: PyTorch's ImageNet example does so for VGG."""
    state = {"features.module.0.weight": torch.ones(4, 3, 3, 3), "classifier.0.weight": torch.ones(2, 2)}
    assert find_network(PATH, state).tensors.keys() == {"features.0.weight", "classifier.0.weight"}
    state = {name.replace("layer1.", "layer1._orig_mod."): tensor for name, tensor in net().items()}
    assert find_network(PATH, state).tensors.keys() == net().keys()


def test_average_alone_is_read_and_said():
    module = nn.ParameterDict({name.replace(".", "_"): tensor for name, tensor in net().items()})
    average = AveragedModel(module)
    average.update_parameters(module)
    assert {"n_averaged", "module.conv1_weight"} <= average.state_dict().keys()  # torch's own names
    found = find_network(PATH, net(prefix="module.") | {"n_averaged": torch.tensor(5)})
    assert found.tensors.keys() == net().keys() and not found.beside
    assert found.note == "'module.' taken off the tensors' names; weights averaged over 5 steps (n_averaged)"


@pytest.mark.parametrize(
    ("content", "plain", "averaged"),
    [
        ({"model": net(1), "model_ema": net(2, "module.")}, "model", "model_ema.module"),
        ({"state_dict": net(1), "state_dict_ema": net(2)}, "state_dict", "state_dict_ema"),
        ({"state_dict": net(1, "backbone."), "ema_state_dict": net(2, "module.backbone.")},
         "state_dict.backbone", "ema_state_dict.module.backbone"),
        ({"student": net(1, "module.backbone."), "teacher": net(2, "backbone.")},
         "student.module.backbone", "teacher.backbone"),
        ({"state_dict": net(1, "module.encoder_q.") | net(2, "module.encoder_k.")},
         "state_dict.module.encoder_q", "state_dict.module.encoder_k"),
        ({"state_dict": net(1, "model.") | net(2, "ema_model.module.")},
         "state_dict.model", "state_dict.ema_model.module"),
        (net(1) | net(2, "ema."), ".", "ema"),
        (net(1) | net(2, "ema.") | {"ema.n_averaged": torch.tensor(3)}, ".", "ema"),
        (net(1) | net(2, "module."), ".", "module"),
    ],
)  # fmt: skip
def test_several_networks_are_listed_and_one_is_chosen(content, plain, averaged):
    message = refusal(content)
    averages = f"{averaged!r} (averaged)" if averaged != "module" else "'module'"
    assert message == (
        f"x.pth holds 2 networks: {plain!r}, {averages}; choose one with --part, for example --part {plain}"
    )
    for place, other, value in ((plain, averaged, 1), (averaged, plain, 2)):
        found = find_network(PATH, content, place)
        assert found.tensors.keys() == net().keys() and not found.beside
        assert found.tensors["conv1.weight"][0, 0, 0, 0] == value
        assert found.note.startswith(f"taken from below {place!r}, not from {other!r}")
    assert f"has no network below 'ema2'; the networks in it: {plain!r}" in refusal(content, "ema2")


def test_a_second_set_under_flat_names_is_said():
    flat = {f"ema_{name.replace('.', '_')}": tensor for name, tensor in net(2, "backbone.").items()}
    found = find_network(PATH, {"meta": {}, "state_dict": net(1, "backbone.") | flat})
    assert found.tensors["conv1.weight"][0, 0, 0, 0] == 1 and found.beside.keys() == flat.keys()
    assert found.note.endswith(
        "; 4 tensors 'ema_…', a second set of weights averaged or plain, were not taken"
    )


def test_schema_is_no_average_and_many_are_cut_short():
    message = refusal({f"schema{number}": net() for number in range(11)})
    assert "(averaged)" not in message and "'schema7' and 3 more; choose" in message


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("resnet.embedder.embedder.convolution.weight", "a ResNet of Hugging Face's transformers"),
        ("0.4.0.conv1.weight", "a ResNet whose layers have numbers for names"),
        ("4.0.conv1.weight", "a ResNet whose layers have numbers for names"),
        ("module.patch_embed.proj.weight", "a vision transformer"),
        ("vit.embeddings.patch_embeddings.projection.weight", "a vision transformer"),
    ],
)
def test_projects_without_a_reader_are_named(name, what):
    for content in ({name: torch.ones(4, 3, 7, 7)}, {"model": {name: torch.ones(4, 3, 7, 7)}, "opt": {}}):
        assert refusal(content).startswith(f"x.pth holds {name!r}: {what}")


def test_containers_that_hold_each_other_end():
    content = {"state_dict": {"a": 1}}
    content["state_dict"]["up"] = content
    assert "expected tensors by name, found a, up" in refusal(content)


def test_detectron2_keeps_what_its_reader_knows():
    state = {"module.backbone.bottom_up.res2.0.conv1.weight": torch.ones(4, 4, 1, 1)}
    found = find_network(PATH, {"model": state | {"module.roi_heads.res5.0.conv1.weight": torch.ones(1)}})
    assert found.tensors.keys() == {"backbone.bottom_up.res2.0.conv1.weight", "roi_heads.res5.0.conv1.weight"}
    teacher = {f"modelTeacher.{name.removeprefix('module.')}": tensor for name, tensor in state.items()}
    student = {name.replace("Teacher", "Student"): tensor for name, tensor in teacher.items()}
    assert "holds 2 networks: 'model.modelTeacher' (averaged), 'model.modelStudent'" in refusal(
        {"model": teacher | student}
    )


def test_checkpoint_of_a_training_script(tmp_path, small):
    """Plain and averaged weights, options, an optimiser and NumPy's numbers, as torchvision saves them."""
    state = torch.load(small, weights_only=True)
    network = create_model("resnet18", num_classes=3)
    network.load_state_dict(state)
    average = AveragedModel(network)
    average.update_parameters(network)
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9).state_dict()
    content = {"model": state, "model_ema": average.state_dict(), "optimizer": optimiser, "epoch": 5}
    content |= {"args": argparse.Namespace(lr=0.1), "best": np.float64(0.5)}
    path, out = tmp_path / "checkpoint.pth.tar", tmp_path / "out.safetensors"
    torch.save(content, path)
    with pytest.raises(WeightsError, match="'model', 'model_ema.module' .averaged.; choose one with --part"):
        convert(path, out, **SAYS)
    said = convert(path, out, part="model_ema.module", **SAYS).describe()
    assert said.endswith(
        "  note: taken from below 'model_ema.module', not from 'model'; 'module.' taken off the tensors' "
        "names; weights averaged over 1 steps (n_averaged)"
    )
    found = read_weights(out)[0]
    assert found.keys() == state.keys()
    assert torch.equal(found["layer2.0.conv1.weight"], state["layer2.0.conv1.weight"])


def test_a_detector_around_the_network(tmp_path, small, refusal):
    """What is beside the backbone is listed in the file's names, and left out with --backbone-only."""
    state = {f"backbone.body.{name}": tensor for name, tensor in torch.load(small, weights_only=True).items()}
    state = {name: tensor for name, tensor in state.items() if ".fc." not in name and "tracked" not in name}
    torch.save({"model": state | {"rpn.head.conv.weight": torch.ones(2)}}, tmp_path / "x.pth")
    out = tmp_path / "out.safetensors"
    message = refusal(tmp_path / "x.pth", out, **SAYS)
    assert "x.pth (below 'model.backbone.body') → resnet18: not every tensor has its place" in message
    assert (
        "1 unused:\n    rpn.head.conv.weight (2,)" in message
        and "backbone alone with --backbone-only" in message
    )
    note = convert(tmp_path / "x.pth", out, backbone_only=True, **SAYS).note
    assert (
        note == "'backbone.body.' taken off the tensors' names; 1 tensors beside the backbone were left out"
    )


def test_counters_in_another_form(tmp_path, small):
    state = torch.load(small, weights_only=True)
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    torch.save(state | {name: torch.tensor([3], dtype=torch.int32) for name in counters}, tmp_path / "x.pth")
    convert(tmp_path / "x.pth", tmp_path / "x.safetensors", **SAYS)
    found = read_weights(tmp_path / "x.safetensors")[0]
    assert len(counters) == 20 and all(found[name].shape == () and found[name] == 3 for name in counters)
    assert found[counters[0]].dtype == torch.int64
    create_model("resnet18", num_classes=3, weights=tmp_path / "x.safetensors")


def test_a_header_of_ours_needs_no_part(tmp_path, cifar, refusal):
    out = tmp_path / "out.safetensors"
    assert "has no network below 'ema'; the networks in it: '.'" in refusal(cifar, out, part="ema")
    convert(cifar, out, part=".")
    assert read_weights(out)[1] == read_weights(cifar)[1]


@pytest.mark.parametrize("config", ["model = dict(backbone=dict(style='caffe'))", '{"style": "caffe"}'])
def test_openmmlabs_networks_from_caffe_are_not_taken_for_torchvisions(tmp_path, refusal, config):
    """Their names are the same; only the configuration beside the weights says where bottlenecks stride."""
    state = {f"backbone.{name}": tensor for name, tensor in create_model("resnet50").state_dict().items()}
    state = {name: tensor for name, tensor in state.items() if ".fc." not in name}
    torch.save({"meta": {"cfg": config}, "state_dict": state}, tmp_path / "x.pth")
    out = tmp_path / "out.safetensors"
    message = refusal(tmp_path / "x.pth", out, backbone_only=True, **SAYS)
    assert "does not say what pictures it was trained on; give --source-input imagenet" in message
    note = convert(tmp_path / "x.pth", out, backbone_only=True, source_input="msra", **SAYS).note
    assert note.endswith("its configuration says style='caffe': bottlenecks stride on the 1x1 convolution")
    assert read_weights(out)[1].options["stride_on"] == "1x1"
    torch.save({"meta": {"cfg": config.replace("caffe", "pytorch")}, "state_dict": state}, tmp_path / "x.pth")
    convert(tmp_path / "x.pth", out, backbone_only=True, overwrite=True, **SAYS)
    assert read_weights(out)[1].options["stride_on"] == "3x3"
