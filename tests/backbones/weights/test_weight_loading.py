"""Strict loading into a module: reports, permissions by name, nothing half done."""

import pytest
import torch
from torch import nn

from backbones import WeightsError, load_into
from backbones.norm import freeze_batchnorm


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))


def copied(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_everything_fits():
    module, state = network(), copied(network())
    report = load_into(module, state)
    assert report.loaded == list(state) and not report.missing and not report.unexpected
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_loaded_values_are_copies_in_the_networks_precision():
    module, state = network(), {name: value.half() for name, value in network().state_dict().items()}
    load_into(module, state)
    state["0.weight"].zero_()
    assert module[0].weight.dtype == torch.float32 and module[0].weight.all()


def test_report_names_all_that_does_not_fit_and_nothing_is_changed():
    module, state = network(), copied(network())
    before = copied(module)
    del state["0.bias"]
    state["3.weight"] = torch.zeros(1)
    state["2.weight"] = torch.zeros(5, 4)
    with pytest.raises(WeightsError) as caught:
        load_into(module, state)
    assert str(caught.value).splitlines() == [
        "the weights do not fit the network",
        "  1 missing in the file:",
        "    0.bias",
        "  1 not in the network:",
        "    3.weight",
        "  1 of another shape:",
        "    2.weight: file (5, 4), network (2, 4)",
    ]
    assert caught.value.exit_status == 2
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_allowed_names_keep_the_networks_values():
    module, state = network(), copied(network())
    before = copied(module)
    del state["0.bias"]
    state["3.weight"] = torch.zeros(1)
    state["2.weight"] = torch.zeros(5, 4)
    report = load_into(
        module, state, allow_missing=["0.bias", "2.weight"], allow_unexpected=["3.weight", "2.weight"]
    )
    assert report.missing == ["0.bias", "2.weight"]
    assert set(report.unexpected) == {"3.weight", "2.weight"}
    for name in ("0.bias", "2.weight"):
        assert torch.equal(module.state_dict()[name], before[name])
    assert torch.equal(module[0].weight, state["0.weight"])


@pytest.mark.parametrize("allowed", ["allow_missing", "allow_unexpected"])
def test_another_shape_must_be_allowed_on_both_sides(allowed):
    state = copied(network())
    state["2.weight"] = torch.zeros(5, 4)
    with pytest.raises(WeightsError, match="1 of another shape"):
        load_into(network(), state, **{allowed: ["2.weight"]})


@pytest.mark.parametrize("name", ["0.weight", "1.running_mean", "1.weight"])
def test_permission_for_one_name_is_not_for_another(name):
    state = copied(network())
    del state[name]
    with pytest.raises(WeightsError, match=f"1 missing in the file:\n    {name}$"):
        load_into(network(), state, allow_missing=["0.bias"])


def test_counters_may_be_absent_on_either_side():
    state = copied(network())
    frozen = freeze_batchnorm(network())
    load_into(frozen, state)
    assert torch.equal(frozen[0].weight, state["0.weight"])
    module = network()
    load_into(module, frozen.state_dict())
    assert torch.equal(module[0].weight, state["0.weight"])


def test_counter_is_loaded_where_both_have_it():
    module, state = network(), copied(network())
    state["1.num_batches_tracked"].fill_(7)
    load_into(module, state)
    assert module[1].num_batches_tracked == 7


@pytest.mark.parametrize("counter", [torch.tensor([7], dtype=torch.int32), torch.tensor([[7.0]])])
def test_counter_in_another_form_is_loaded(counter):
    module, state = network(), copied(network())
    load_into(module, state | {"1.num_batches_tracked": counter})
    loaded = module[1].num_batches_tracked
    assert loaded == 7 and loaded.shape == () and loaded.dtype == torch.int64


def test_report_fits_one_screen():
    module = nn.Sequential(*(nn.Linear(2, 2) for _ in range(50)))
    state = {f"{i}.weight": torch.zeros(3) for i in range(50)} | {f"x{i}": torch.zeros(1) for i in range(50)}
    with pytest.raises(WeightsError) as caught:
        load_into(module, state)
    lines = str(caught.value).splitlines()
    assert len(lines) < 24
    assert lines.count("    … and 45 more") == 3


@pytest.mark.parametrize(
    ("names", "source"),
    [
        (["stem.conv1.weight", "linear.weight"], "detectron2"),
        (["backbone.bottom_up.stem.conv1.weight"], "detectron2"),
        (["module.linear.weight"], "cifar"),
        (["layer3.0.shortcut.0.weight"], "cifar"),
        (["module.fc.weight"], "FORMAT"),
        (["_orig_mod.module.conv1.weight"], "FORMAT"),
        (["backbone.body.layer1.0.conv1.weight"], "FORMAT"),
    ],
)
def test_names_of_other_projects_are_told_how_to_convert(names, source):
    state = {name: torch.zeros(1) for name in names}
    with pytest.raises(WeightsError) as caught:
        load_into(network(), state)
    last = str(caught.value).splitlines()[-1]
    assert "another project's names" in last and last.endswith(f"OUT.safetensors --from {source}")
    with pytest.raises(WeightsError) as caught:
        load_into(network(), {"fc.weight": torch.zeros(1)})
    assert "another project" not in str(caught.value)
