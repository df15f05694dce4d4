"""Captured detectors give what plain ones give, in training and in evaluation.

Without a GPU `Tape` stands in for a capture: operations repeated on the same memory, as a CUDA graph does.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from detection.config import DetectionOptimConfig
from detection.heads import roi_pooling as pooling
from detection.model.detector import FasterRCNN
from detection.predictor import detect, predict
from detection.types import Batch, Prediction
from training.graph import WARM_UP, GraphedFunction, GraphedSteps
from training.loop import TrainingStep, TrainState
from training.optim import WeightAverage, build_optimizer
from training.schedule import ScheduleConfig

Body = Callable[[], None]
OPTIM = DetectionOptimConfig(lr=2**-10, batch_size=2, reference_batch=2, clip_norm=10.0)
SIZES = ([(96, 128), (90, 120)], [(128, 96), (128, 90)], [(64, 160), (60, 150)])
COUNTS = ([3, 0], [9, 12], [0, 0], [10, 1], [8, 2], [1, 16])
FORBIDDEN = ("_local_scalar_dense", "nonzero")  # they would wait for a GPU


class Tape(TorchDispatchMode):
    """Runs a body once without consequences; `play` repeats its operations on the same memory."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.operations: list[tuple] = []
        self.made: list[Tensor] = []
        self._before: list[tuple[Tensor, Tensor]] = []
        with self:
            body()
        with torch.no_grad():
            for tensor, value in reversed(self._before):
                tensor.copy_(value)
        self._before.clear()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):  # noqa: ANN001, ANN204
        assert function._schema.name.partition("::")[2] not in FORBIDDEN
        keywords = keywords or {}
        for written in self._written(function, arguments, keywords):
            self._before.append((written, written.clone()))
        result = function(*arguments, **keywords)
        known = {tensor.untyped_storage().data_ptr() for tensor in tensors((arguments, keywords))}
        made = [tensor for tensor in tensors(result) if tensor.untyped_storage().data_ptr() not in known]
        self.operations.append((function, arguments, keywords, result, made))
        self.made += made
        return result

    @staticmethod
    def _written(function, arguments: Sequence, keywords: dict) -> list[Tensor]:  # noqa: ANN001
        values = dict(zip((a.name for a in function._schema.arguments), arguments, strict=False)) | keywords
        return tensors(
            [values[a.name] for a in function._schema.arguments if a.is_write and a.name in values]
        )

    def play(self) -> None:
        for function, arguments, keywords, result, made in self.operations:
            again = function(*arguments, **keywords)
            for old, new in zip(tensors(result), tensors(again), strict=True):
                if any(old is tensor for tensor in made):
                    assert old.shape == new.shape  # else it hangs on values
                    old.copy_(new)


class Pool:
    """Tapes that share a pool: all that any of them made is overwritten before one is played."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []

    def __call__(self, body: Body) -> Body:
        tape = Tape(body)
        self.tapes.append(tape)

        def replay() -> None:
            for other in self.tapes:
                for tensor in other.made:
                    tensor.fill_(float("nan") if tensor.is_floating_point() else 1)
            with torch.no_grad():
                tape.play()

        return replay


def tensors(values: object) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions are pooled in fixed shapes; torchvision's kernel has no bfloat16 on a CPU."""

    def by_kernel(features: Sequence[Tensor], *rest: object) -> Tensor:
        pooled = pooling._pool_by_kernel([level.float() for level in features], *rest)  # type: ignore[arg-type]
        return pooled.to(features[0].dtype)

    monkeypatch.setattr(pooling, "_pool_by_rows", by_kernel)


@pytest.fixture
def stream(
    batches: Callable[..., Batch], with_masks: Callable[[Batch], Batch]
) -> Callable[[int], Iterator[Batch]]:
    """Batches of three sizes and two numbers of slots in turn, from a number on; with masks."""

    def make(start: int) -> Iterator[Batch]:
        number = start
        while True:
            batch = batches(SIZES[number % 3], COUNTS[number % 6], seed=number)
            yield dataclasses.replace(with_masks(batch), ids=[f"{number}a", f"{number}b"])
            number += 1

    return make


def training(
    model: FasterRCNN, optim: DetectionOptimConfig = OPTIM, *, bf16: bool = False
) -> tuple[TrainState, TrainingStep]:
    model.train()
    average = None if optim.ema_decay is None else WeightAverage(model, optim.ema_decay)
    step = TrainingStep(
        model,
        lambda network, batch: network(batch),
        optim=optim,
        schedule=ScheduleConfig(total_steps=100, milestones=(20, 30), gamma=0.5),
        precision="bf16" if bf16 else "fp32",
        device=next(model.parameters()).device,
    )
    return TrainState(model, build_optimizer(model, optim), average=average), step


def take(state: TrainState, step: Callable, batches: Iterator[Batch], count: int) -> list[dict[str, Tensor]]:
    """The losses of each of so many steps, read after all of them."""
    losses = []
    for _ in range(count):
        losses.append(step(state, batches, 1).losses)
        state.step += 1
    return losses


@pytest.mark.parametrize(
    ("made", "options", "bf16"),
    [
        ({}, {}, False),
        ({}, {}, True),
        ({}, {"accumulate": 2, "ema_decay": 0.9}, False),
        ({"stages": 2, "context": True}, {}, False),
    ],
    ids=str,
)
def test_replayed_steps_equal_the_steps(
    as_on_a_gpu: None, detectors: Callable, stream: Callable, made: dict, options: dict, bf16: bool
):
    optim, pool = dataclasses.replace(OPTIM, **options), Pool()
    plain, step = training(detectors("c4", **made), optim, bf16=bf16)
    plain.optimizer.param_groups[0]["fused"] = True  # with rates that are powers of two: equal to the bit
    expected = take(plain, step, stream(0), 40)
    state, step = training(detectors("c4", **made), optim, bf16=bf16)
    losses = take(state, GraphedSteps(step, pool, steps=1), stream(0), 40)
    assert len(pool.tapes) == (3 if optim.accumulate == 2 else 6)
    torch.testing.assert_close(losses, expected, rtol=0, atol=0)
    torch.testing.assert_close(state.model.state_dict(), plain.model.state_dict(), rtol=0, atol=0)
    if state.average is not None and plain.average is not None:
        torch.testing.assert_close(state.average.averages, plain.average.averages, rtol=0, atol=0)


@pytest.mark.parametrize("options", [{}, {"context": True, "testing": {"refine": 1}}, {"stages": 3}], ids=str)
def test_detection_replayed(as_on_a_gpu: None, detectors: Callable, stream: Callable, options: dict):
    model, pool = detectors("c4", **options).eval(), Pool()
    find = GraphedFunction(lambda batch: detect(model, batch, bf16=False), torch.device("cpu"), pool)
    with torch.inference_mode():
        for batch in islice(stream(0), 3 * (WARM_UP + 2)):
            found = find(batch.without_objects())
            torch.testing.assert_close(found, model(batch), rtol=0, atol=0)
            assert found.valid.any()
    assert len(pool.tapes) == 3  # the number of objects makes no difference


def test_predictions_with_and_without(detector: Callable, stream: Callable):
    model = detector()
    expected, found = (
        predict(model, islice(stream(0), 3 * (WARM_UP + 2)), bf16=False, cuda_graph=cuda_graph)
        for cuda_graph in (False, True)
    )
    assert sum(len(prediction.boxes) for prediction in expected) > 100
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.boxes, theirs.boxes) and torch.equal(ours.scores, theirs.scores)


def test_the_tape_is_strict():
    x, y = torch.ones(2), torch.zeros(())
    tape = Tape(lambda: x.add_(1))
    assert x.tolist() == [1, 1]
    tape.play()
    assert x.tolist() == [2, 2]
    with pytest.raises(AssertionError):
        Tape(lambda: y.item())  # type: ignore[arg-type]
    values: list[Tensor] = []
    replay = Pool()(lambda: values.append(x + y))
    for number in (1.0, 2.0):
        y.fill_(number)
        replay()
        assert values[0].tolist() == [2 + number] * 2


@pytest.mark.parametrize(("kind", "stages"), [("c4", 1), ("mask", 1), ("mask", 3)])
def test_empty_slots_change_nothing(detectors: Callable, stream: Callable, kind: str, stages: int):
    model = detectors(kind, stages=stages).train()
    for batch in islice(stream(0), 6):
        state = {name: value.clone() for name, value in model.state_dict().items()}
        losses = model(batch)
        model.load_state_dict(state)  # running averages
        torch.testing.assert_close(model(batch.with_slots(64)), losses, rtol=0, atol=0)


@pytest.fixture
def on_gpu(detectors: Callable[..., FasterRCNN]) -> Callable[..., FasterRCNN]:
    def make(kind: str) -> FasterRCNN:
        options = {"stages": 3, "context": True, "testing": {"refine": 1}} if kind == "cascade" else {}
        model = detectors("mask" if kind == "cascade" else kind, **options).cuda()
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    return make


def follow(state: TrainState, leader: TrainState) -> None:
    """Gives a training the weights and momenta of another, in their place."""
    mine, others = (
        [
            *s.model.state_dict().values(),
            *(values["momentum_buffer"] for values in s.optimizer.state.values()),
        ]
        for s in (state, leader)
    )
    with torch.no_grad():
        for target, source in zip(mine, others, strict=True):
            target.copy_(source)


def flat(state: TrainState) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in state.model.parameters()])


GPU_KINDS = pytest.mark.parametrize(
    ("kind", "bf16"), [("c4", False), ("mask", False), ("mask", True), ("cascade", False)]
)


@pytest.mark.gpu
@GPU_KINDS
def test_captured_steps_on_a_gpu(on_gpu: Callable, stream: Callable, kind: str, bf16: bool):
    # Every step begins alike: sums of the backward pass are rounded otherwise in every run.
    plain, step = training(on_gpu(kind), bf16=bf16)
    state, other = training(on_gpu(kind), bf16=bf16)
    steps, tolerance = GraphedSteps(other, steps=1), 0.05 if bf16 else 0.005
    first, second = stream(0), stream(0)
    for _ in range(6 * (WARM_UP + 3)):
        follow(state, plain)
        before = flat(plain)
        (expected,), (losses,) = take(plain, step, first, 1), take(state, steps, second, 1)
        torch.testing.assert_close(losses, expected, rtol=tolerance, atol=tolerance)
        change = (flat(plain) - before).norm()
        assert change > 0 and (flat(state) - flat(plain)).norm() < 10 * tolerance * change
    assert steps.launch is not None and len(steps.launch.recordings) == 6


@pytest.mark.gpu
@GPU_KINDS
def test_captured_detection_on_a_gpu(on_gpu: Callable, stream: Callable, kind: str, bf16: bool):
    model = on_gpu(kind)
    expected, found = (
        predict(model, islice(stream(0), 3 * (WARM_UP + 5)), bf16=bf16, cuda_graph=cuda_graph)
        for cuda_graph in (False, True)
    )
    near = [closest(ours, theirs) < 0.5 for ours, theirs in zip(found, expected, strict=True)]
    assert sum(map(len, near)) > 100 and torch.cat(near).float().mean() > 0.9


def closest(ours: Prediction, theirs: Prediction) -> Tensor:
    """(D,) how far the nearest of theirs with its label is from each of ours, in pixels or per cent."""
    mine, others = (
        torch.cat([p.boxes, 100 * p.scores[:, None], 1000 * p.labels[:, None]], dim=1) for p in (ours, theirs)
    )
    return torch.cdist(mine, others, p=torch.inf).amin(dim=1) if len(others) else torch.ones(len(mine))
