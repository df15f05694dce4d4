"""Training with a random subset of blocks: what is drawn, what rests, and what is scored and saved."""

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backbones import create_model, load_network, read_weights
from backbones.lesion import without_blocks
from backbones.networks.preact import PreActBasicBlock
from classification import pretrain as pretraining
from classification.block_subsets import BlocksConfig, BlockSubsets
from classification.config import PretrainConfig
from classification.pretrain import pretrain
from foundation.errors import UserError
from training.config import load_config
from training.loop import TrainingStep, TrainState
from training.optim import OptimConfig, build_optimizer
from training.schedule import ScheduleConfig

OPTIONS = (
    *("model.name=resnet20_cifar", "data.kind=folder", "data.image_size=8", "data.resize=10"),
    *("optim.batch_size=4", "optim.reference_batch=4", "run.workers=0", "run.device=cpu", "run.log_every=1"),
    *("run.eval_every=3", "schedule.total_steps=6", "run.pictures=false"),
)
NAMES = ["res2.0", "res2.1", "res2.2", "res3.0", "res3.1", "res3.2", "res4.0", "res4.1", "res4.2"]


def subsets(name: str = "resnet20_cifar", seed: int = 0, **config) -> BlockSubsets:
    torch.manual_seed(0)
    return BlockSubsets(create_model(name), BlocksConfig(**config), seed)


def config(root: Path, *more: str) -> PretrainConfig:
    return load_config(PretrainConfig, None, [*OPTIONS, f"data.root={root}", *more])


def test_so_many_blocks_are_kept_and_each_as_often():
    drawn = subsets(kept=4)
    left_out = [drawn.left_out(step) for step in range(2000)]
    assert {len(names) for names in left_out} == {5}
    assert all(names == [name for name in NAMES if name in names] for names in left_out)
    counts = Counter(itertools.chain.from_iterable(left_out))
    # 2,000 · 5/9 = 1,111 with a deviation of sqrt(2,000 · 5/9 · 4/9) = 22.
    assert set(counts) == set(NAMES) and all(abs(count - 1111) < 90 for count in counts.values())
    assert set(drawn.probabilities.values()) == {4 / 9}
    assert subsets(kept=9).left_out(3) == []


def test_survival_falls_linearly():
    drawn = subsets("resnet8_cifar", survival=0.4)
    # p_l = 1 - l / 3 · (1 - 0.4)
    assert drawn.probabilities == pytest.approx({"res2.0": 0.8, "res3.0": 0.6, "res4.0": 0.4})
    counts = Counter(itertools.chain.from_iterable(drawn.left_out(step) for step in range(2000)))
    assert counts == {name: pytest.approx(2000 * (1 - p), abs=90) for name, p in drawn.probabilities.items()}


@pytest.mark.parametrize("how", [{"kept": 4}, {"survival": 0.5}])
def test_seed_and_step_decide_and_nothing_else(how: dict):
    first = [subsets(**how).left_out(step) for step in range(50)]
    torch.manual_seed(7)
    again, other = subsets(**how), subsets(**how, seed=1)
    assert [again.left_out(step) for step in reversed(range(50))] == first[::-1]
    assert [other.left_out(step) for step in range(50)] != first
    assert len(set(map(tuple, first))) > 20


@pytest.mark.parametrize("survival", [0.3, 0.0, 1.0])
def test_what_is_scored_is_the_expectation_of_one_block(survival: float, randomise_norms):
    class OneBlock(nn.Module):
        """Linear in its residual: the mean over its two subsets is what the scaled block gives."""

        name, stages = "one", {"res2": ("layer1",)}

        def __init__(self) -> None:
            super().__init__()
            self.layer1 = nn.Sequential(PreActBasicBlock(4, 4, 1, shortcut="A"))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer1(x)

    torch.manual_seed(0)
    network, x = OneBlock().eval(), torch.randn(2, 4, 5, 5)
    randomise_norms(network)
    drawn = BlockSubsets(network, BlocksConfig(survival=survival), 0)
    with torch.no_grad():
        with_block = network(x)
        with without_blocks(network, ["res2.0"]):
            bypassed = network(x)
        with drawn.expected():
            scored = network(x)
        torch.testing.assert_close(scored, survival * with_block + (1 - survival) * bypassed)
        assert torch.equal(network(x), with_block), "the weights are what they were"


UNITS = [
    *("scaled", "exclusive_gating", "bn_after_addition", "relu_before_addition", "relu_only_preactivation"),
]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet8_cifar", {"shortcut": "C"}),
        ("resnet11_cifar", {"bottlenecks": True}),
        ("preact_resnet8_cifar", {}),
        ("preact_resnet11_cifar", {}),
        *(("resnet8_cifar", {"unit": unit}) for unit in UNITS),
    ],
)
def test_every_residual_is_scaled(name: str, options: dict, randomise_norms):
    torch.manual_seed(0)
    network = create_model(name, **options).eval()
    randomise_norms(network)
    block, x = network.layer1[0], torch.randn(2, 16, 6, 6)
    drawn = BlockSubsets(network, BlocksConfig(kept=1), 0)
    with torch.no_grad():
        shortcut, residual = block.terms(x)
        with drawn.expected():
            found = block.terms(x)
    torch.testing.assert_close(found, (shortcut, residual / 3))


class Pictures:
    ids = ("picture",)

    def to(self, device: torch.device) -> "Pictures":
        return self


def test_a_block_that_rests_moves_by_its_momentum_and_decay_alone():
    drawn = subsets("resnet8_cifar", kept=2)
    model = drawn.model
    optim = OptimConfig(lr=0.1, batch_size=4, reference_batch=4, momentum=0.9, weight_decay=0.01)
    torch.manual_seed(0)
    images = torch.randn(4, 3, 8, 8)
    step = TrainingStep(
        model,
        lambda network, batch: {"loss": network(images).square().mean()},
        optim=optim,
        schedule=ScheduleConfig(total_steps=9),
        device=torch.device("cpu"),
        precision="fp32",
        around=drawn.drawn,
    )
    state = TrainState(model.train(), build_optimizer(model, optim))
    step(state, itertools.repeat(Pictures()))
    state.step = next(n for n in range(1, 99) if drawn.left_out(n) != drawn.left_out(0))
    (rests,) = drawn.left_out(state.step)
    block = model.get_submodule({"res2.0": "layer1.0", "res3.0": "layer2.0", "res4.0": "layer3.0"}[rests])
    weight = block.conv1.weight
    buffers = {name: value.clone() for name, value in block.named_buffers()}
    momentum = state.optimizer.state[weight]["momentum_buffer"].clone()
    before = weight.detach().clone()
    state.optimizer.zero_grad()
    step(state, itertools.repeat(Pictures()))
    assert not weight.grad.any() and model.fc.weight.grad.any()
    torch.testing.assert_close(weight.detach(), before - 0.1 * (0.9 * momentum + 0.01 * before))
    assert all(torch.equal(value, buffers[name]) for name, value in block.named_buffers())
    assert type(model.layer1[0]).__name__ == "BasicBlock", "the block is back in its place"


@pytest.mark.parametrize("how", ["blocks.kept=4", "blocks.survival=0.5"])
def test_a_run_that_goes_on_ends_as_one_never_stopped(
    how: str, folder_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = pretrain(config(folder_root, how), tmp_path / "whole")
    evaluate = pretraining.evaluate

    def failing(*arguments: object, **options: object) -> None:
        raise UserError("stopped here")

    monkeypatch.setattr(pretraining, "evaluate", failing)
    with pytest.raises(UserError, match="stopped here"):
        pretrain(config(folder_root, how), tmp_path / "killed")  # after step 3
    monkeypatch.setattr(pretraining, "evaluate", evaluate)
    assert pretrain(config(folder_root, how), tmp_path / "killed", resume=True) == whole
    for name in ("metrics.jsonl", "last.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    # All blocks, every step, is the training without the option; this is another.
    plain = pretrain(config(folder_root), tmp_path / "plain")
    assert pretrain(config(folder_root, "blocks.kept=9"), tmp_path / "all")["scores"] == plain["scores"]
    assert whole["scores"]["loss"] != plain["scores"]["loss"]


def test_the_saved_network_gives_what_was_scored(folder_root: Path, tmp_path: Path):
    settings = config(folder_root, "blocks.survival=0.2", "schedule.total_steps=3")
    result = pretrain(settings, tmp_path / "run")
    pictures = pretraining.open_split(settings.data, training=False)
    network = load_network(tmp_path / "run" / "last.safetensors").eval()
    batch = pictures.read(pretraining.evaluation_items(len(pictures), len(pictures))[0])
    with torch.no_grad():
        loss = nn.functional.cross_entropy(network(pictures.prepare(batch)), batch.labels).item()
    assert loss == pytest.approx(result["scores"]["loss"], rel=1e-4)
    # The checkpoint holds the weights that are trained: of the last block five times as much.
    trained = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["model"][
        "layer3.2.bn2.weight"
    ]
    saved, header = read_weights(tmp_path / "run" / "last.safetensors")
    torch.testing.assert_close(saved["layer3.2.bn2.weight"], 0.2 * trained)
    assert header is not None and header.config["blocks"] == {"kept": None, "survival": 0.2}


@pytest.mark.parametrize("how", ["run.compile=true", "run.recompute=true"])
def test_compiled_and_recomputed_blocks(
    how: str, folder_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: real(function, backend="eager"))
    torch._dynamo.reset()
    short = "model.name=resnet8_cifar", "blocks.kept=2", "schedule.total_steps=3"
    plain = pretrain(config(folder_root, *short), tmp_path / "plain")
    other = pretrain(config(folder_root, *short, how), tmp_path / "other")
    assert other["scores"] == pytest.approx(plain["scores"], rel=1e-4)


PROCESSES = """
import json, sys
from pathlib import Path
import torch
from classification import pretrain as module
from classification.block_subsets import BlockSubsets
from classification.config import PretrainConfig
from training.config import load_config
from training.devices import process_group

left_out = BlockSubsets.left_out
drawn = []
def recorded(self, step):
    drawn.append(left_out(self, step))
    return drawn[-1]
BlockSubsets.left_out = recorded
build, models = module.draw_classifier, []
def kept(*arguments):
    models.append(build(*arguments))
    return models[-1]
module.draw_classifier = kept
config = load_config(PretrainConfig, None, sys.argv[2:])
with process_group(torch.device("cpu")):
    result = module.pretrain(config, Path(sys.argv[1]))
    weights = {name: value.double().sum().item() for name, value in models[0].named_parameters()}
    print(json.dumps({"drawn": drawn, "weights": weights, "result": result["scores"]}))
"""


def test_processes_draw_the_same(folder_root: Path, tmp_path: Path, in_processes: Callable):
    short = "model.name=resnet8_cifar", "blocks.kept=1", "optim.accumulate=2", "schedule.total_steps=3"
    first, second = in_processes(PROCESSES, tmp_path / "run", *OPTIONS, f"data.root={folder_root}", *short)
    expected = subsets("resnet8_cifar", kept=1)
    assert first["drawn"] == second["drawn"] == [expected.left_out(step) for step in range(3)]
    assert first["weights"] == second["weights"] and first["result"] == second["result"]


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        (
            "plain20_cifar",
            {"kept": 2},
            "^blocks.kept leaves out residuals, and plain20_cifar has none; leave it",
        ),
        (
            "highway19_cifar",
            {"survival": 0.5},
            "^blocks.survival leaves out residuals, and highway19_cifar has",
        ),
        ("vgg16", {"kept": 2}, "and vgg16 has none"),
        (
            "resnet20_cifar",
            {"kept": 10},
            "^blocks.kept must be at most 9, the residual blocks of resnet20_cifar, g",
        ),
    ],
)
def test_networks_that_cannot(name: str, how: dict, message: str):
    with torch.device("meta"):
        model = create_model(name)
    with pytest.raises(UserError, match=message):
        BlockSubsets(model, BlocksConfig(**how), 0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["blocks.kept=0"], "blocks: kept must be at least 1, got 0"),
        (["blocks.survival=1.5"], "blocks: survival must be from 0 to 1, got 1.5"),
        (
            ["blocks.kept=2", "blocks.survival=0.5"],
            "blocks: kept 2 and survival 0.5 exclude each other; give one",
        ),
        (
            ["blocks.kept=2", "run.cuda_graph=true"],
            "repeats one step, and blocks.kept leaves out other blocks in each; use run.cuda_graph=false",
        ),
    ],
)
def test_impossible_values(tmp_path: Path, overrides: list[str], message: str):
    with pytest.raises(UserError, match=message):
        config(tmp_path, *overrides)
