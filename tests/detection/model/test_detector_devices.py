"""Detectors on a stand-in for Apple's GPUs: tensors that say so, without float64, apart from the host's."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from backbones.norm import fold_batchnorm
from backbones.spec import scale_and_shift
from detection.heads import roi_pooling
from detection.model import anchors
from detection.model.detector import FasterRCNN
from detection.predictor import predict
from detection.types import Batch
from training.loop import LossWatch, TrainingStep, TrainState
from training.optim import OptimConfig, WeightAverage, build_optimizer
from training.schedule import ScheduleConfig

MPS = torch.device("mps", 0)
UNCHECKED = ("copy_", "__get__", "__set__", "_has_compatible_shallow_copy_type")


class Apples(Tensor):
    """A tensor whose memory is the host's, and which says that it is not."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return MPS

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return False

    def __deepcopy__(self, memo: dict) -> "Apples":
        copied = self.detach().clone().as_subclass(Apples)
        return nn.Parameter(copied, self.requires_grad) if self.is_leaf and self.requires_grad else copied


class StandIn(TorchFunctionMode):
    """Moves to and from the device, and what a device without float64 and torchvision's kernels refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: set[str] = set()

    def __torch_function__(self, function, types, arguments=(), keywords=None):  # noqa: ANN001, ANN204
        keywords = dict(keywords or {})
        name = getattr(function, "__name__", "")
        tensors = [value for value in tree_flatten((arguments, keywords))[0] if isinstance(value, Tensor)]
        there = [value for value in tensors if isinstance(value, Apples)]
        if function in (Tensor.to, Tensor.cpu):
            return self.move(function, arguments, keywords)
        device = keywords.pop("device", None)
        goes = device is not None and torch.device(device).type == "mps"
        if device is not None and not goes:
            keywords["device"] = device
        if there and name not in UNCHECKED:
            hosts = [value for value in tensors if not isinstance(value, Apples) and value.dim()]
            assert not hosts, f"{name} of tensors on mps and on the host, {hosts[0].shape}"
        assert not (there and name in ("embedding_bag", "roi_align", "nms")), f"{name} is not on mps"
        if there:
            self.calls.add(name)
        found = function(*arguments, **keywords)
        goes = goes or (bool(there) and function == Tensor.grad.__get__)
        return tree_map(apples, found) if goes else self.checked(found)

    def move(self, function: Callable, arguments: tuple, keywords: dict[str, Any]) -> Tensor:
        tensor, *rest = arguments
        wanted = "cpu" if function is Tensor.cpu else keywords.get("device")
        for value in rest:
            if isinstance(value, torch.device) or (isinstance(value, str) and not value.startswith("torch")):
                wanted = value
        if wanted is None:
            return self.checked(function(*arguments, **keywords))
        goes = torch.device(wanted).type == "mps"
        assert not (keywords.get("non_blocking") and (goes or isinstance(tensor, Apples))), "unsafe on mps"
        types = [value for value in (*rest, keywords.get("dtype")) if isinstance(value, torch.dtype)]
        plain = tensor.as_subclass(Tensor).to(types[0]) if types else tensor.as_subclass(Tensor)
        return apples(plain) if goes else plain

    @staticmethod
    def checked(found: Any) -> Any:
        for value in tree_flatten(found)[0]:
            assert not (isinstance(value, Apples) and value.dtype == torch.float64), "mps has no float64"
        return found


def apples(value: Any) -> Any:
    if not isinstance(value, Tensor) or isinstance(value, Apples):
        return value
    assert value.dtype != torch.float64, "mps has no float64"
    return value.as_subclass(Apples)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    forget_copied()
    with StandIn() as mode:
        yield mode
    torch.__future__.set_overwrite_module_params_on_conversion(before)
    forget_copied()


def forget_copied() -> None:
    scale_and_shift.cache_clear()
    anchors._shapes.cache_clear()


def train(model: FasterRCNN, batches: list[Batch], device: torch.device) -> list[dict[str, float]]:
    """Losses of a step with each batch, the weights averaged, watched and folded as in a training."""
    optim = OptimConfig(lr=1e-3, batch_size=2, reference_batch=2, clip_norm=5.0, ema_decay=0.5)
    average, watch = WeightAverage(model, 0.5), LossWatch()
    state = TrainState(model, build_optimizer(model, optim), average=average)
    step = TrainingStep(
        model.train(),
        lambda network, batch: network(batch),
        optim=optim,
        schedule=ScheduleConfig(total_steps=9, milestones=()),
        device=device,
        precision="fp32",
    )
    losses = []
    for number, batch in enumerate(batches):
        report = step(state, iter([batch]))
        watch.add(number, report)
        losses.append({name: value.item() for name, value in report.losses.items()})
    watch.check()
    return losses


@pytest.mark.parametrize("kind", ["c4", "fpn", "mask"])
def test_trains_and_detects_as_on_the_cpu(
    stand_in: StandIn,
    detectors: Callable[[str], FasterRCNN],
    batches: Callable[..., Batch],
    with_masks: Callable[[Batch], Batch],
    kind: str,
):
    seen = [
        with_masks(batches([(160, 224), (150, 215)], counts, seed=i))
        for i, counts in enumerate([[3, 0], [2, 5], [4, 1]])
    ]
    model, cpu = detectors(kind), torch.device("cpu")
    expected = train(model, seen, cpu)
    found = predict(fold_batchnorm(model.eval()), seen, bf16=False)
    other = detectors(kind).to(MPS)
    assert {parameter.device for parameter in other.parameters()} == {MPS}
    for losses, truth in zip(train(other, seen, MPS), expected, strict=True):
        assert losses == pytest.approx(truth, rel=1e-4)
    there = predict(fold_batchnorm(other.eval()), seen, bf16=False)
    assert sum(len(prediction.boxes) for prediction in found) > 20
    for ours, truth in zip(there, found, strict=True):
        assert type(ours.boxes) is Tensor
        rows = [torch.cat([one.boxes, 1e3 * one.labels[:, None]], dim=1) for one in (ours, truth)]
        apart = torch.cdist(*rows, p=torch.inf)  # scores that nearly tie may change places
        assert apart.amin(1).max() < 0.1 and apart.amin(0).max() < 0.1
        torch.testing.assert_close(ours.scores, truth.scores, rtol=1e-3, atol=1e-4)
    assert {"index_select", "conv2d", "argsort"} <= stand_in.calls


def test_the_stand_in_refuses(stand_in: StandIn):
    there = torch.ones(3, device="mps")
    assert there.device == MPS and (there + 1).device == MPS and there.cpu().device.type == "cpu"
    assert nn.Linear(3, 2).to("mps")(there).device == MPS
    with pytest.raises(AssertionError, match="no float64"):
        there.double()
    with pytest.raises(AssertionError, match="on mps and on the host"):
        there + torch.ones(3)
    with pytest.raises(AssertionError, match="unsafe"):
        there.to("cpu", non_blocking=True)
    with pytest.raises(AssertionError, match="roi_align is not on mps"):
        roi_pooling.roi_align(torch.ones(1, 1, 4, 4, device="mps"), [torch.zeros(1, 4, device="mps")], 2)
