"""CUDA graphs: what runs on a GPU again and again is captured once and replayed without the host."""

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import Field, fields, replace
from functools import cache, partial
from itertools import islice
from threading import Lock, get_ident
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from foundation.errors import UserError
from training.devices import world_size
from training.loop import StepReport, TrainingStep, TrainState, set_lr

logger = logging.getLogger(__name__)

STEPS = 10  # a launch; more would be cut short by reports
WARM_UP = 3  # calls before a capture, as torch asks for: libraries choose kernels and allocate in them
MOST_RECORDINGS = 64  # of a function; each keeps its kernels and its input on the GPU
# One thread at a time: libraries must not free memory, nor compile, while another captures.
_CAPTURING = Lock()

Output = TypeVar("Output")
Body = Callable[[], None]
Record = Callable[[Body], Body]


class MicroBatch(Protocol):
    """A dataclass whose tensors recordings read; of its other fields they see the first call's alone.

    `ids` names the pictures; `to` gives what the losses are computed from, copied unless it is there already.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def ids(self) -> list[str]: ...
    def to(self, device: torch.device) -> Any: ...


def recorder(device: torch.device) -> Record:
    """Gives the function that makes a body repeatable: captured on a GPU, run again elsewhere."""
    if device.type != "cuda":
        return lambda body: body
    # All recordings share one pool of memory, as large as the largest needs. A replay overwrites what another
    # left in it, so nothing in the pool may be needed later, and nothing is. Parameters, buffers, momenta,
    # averages and inputs were allocated before a capture, outside the pool. Gradients are made anew by every
    # replay. Outputs are read, in the order of the stream, before the next call.
    return partial(record_cuda, pool=torch.cuda.graph_pool_handle())


def record_cuda(body: Body, pool: Any) -> Body:
    """Captures what `body` launches on the GPU; calling the result does it again on the same memory."""
    graph, stream = torch.cuda.CUDAGraph(), _stream(get_ident(), torch.cuda.current_device())
    # Other threads may train other seeds on the same GPU meanwhile, or pin what a loader brings.
    with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
        body()
    return graph.replay


@cache
def _stream(thread: int, device: int) -> torch.cuda.Stream:
    """A thread's own for captures: on torch's default all graphs would share one cuBLAS workspace."""
    return torch.cuda.Stream(device)


def tensors(value: Any) -> dict[str, Tensor]:
    """The tensors of a dataclass by field, or a tensor itself under an empty name."""
    if isinstance(value, Tensor):
        return {"": value}
    content = {part.name: getattr(value, part.name) for part in fields(value)}
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


class GraphedFunction(Generic[Output]):
    """A function on a GPU that is captured for every shape of its input, and replayed from then on.

    The first `WARM_UP` calls of a shape run the function itself, and so do all calls of the shapes that come
    after `MOST_RECORDINGS` others. The output is valid until the next call, which may write to its memory.

    Args:
        function: of tensors and of dataclasses with tensors. It must not read values on the host, nor copy
            from there, and not keep what it makes; it sees nothing of other fields but the first call's.
        device: where it happens; the input may come from the host, without waiting where it is pinned.
        record: as `recorder` gives it, which is the default.
    """

    def __init__(
        self, function: Callable[..., Output], device: torch.device, record: Record | None = None
    ) -> None:
        self.function, self.device = function, device
        self.record = recorder(device) if record is None else record
        self.recordings: dict[Hashable, tuple[_Call[Output], Body]] = {}
        self._calls: Counter[Hashable] = Counter()
        self._refused = False

    def __call__(self, *inputs: Any) -> Output:
        """What the function gives of these inputs."""
        shapes = tuple(
            tuple((name, tensor.shape, tensor.dtype) for name, tensor in tensors(value).items())
            for value in inputs
        )
        if shapes in self.recordings:
            call, replay = self.recordings[shapes]
            call.write(inputs)
            replay()
            return call.outputs
        call = _Call(self.function, inputs, self.device)
        call.write(inputs)
        with _CAPTURING:
            self._calls[shapes] += 1
            is_frequent, is_full = self._calls[shapes] > WARM_UP, len(self.recordings) >= MOST_RECORDINGS
            if is_frequent and not is_full:
                replay = self.record(call.run)
                self.recordings[shapes] = call, replay
                replay()
                return call.outputs
            if is_frequent and not self._refused:
                logger.info("run.cuda_graph: %d shapes are captured; others run as they are", MOST_RECORDINGS)
                self._refused = True
            with _side_stream(self.device):
                call.run()
        return call.outputs


class _Call(Generic[Output]):
    """A call of a function on memory of its own, which is written before every run."""

    outputs: Output  # of the last run

    def __init__(
        self, function: Callable[..., Output], inputs: tuple[Any, ...], device: torch.device
    ) -> None:
        self.function = function
        self.inputs = []
        for value in inputs:
            memory = {name: torch.empty_like(part, device=device) for name, part in tensors(value).items()}
            self.inputs.append(memory[""] if isinstance(value, Tensor) else replace(value, **memory))

    def write(self, inputs: tuple[Any, ...]) -> None:
        """Copies these inputs into the memory that `run` reads, without waiting for the device."""
        for target, source in zip(map(tensors, self.inputs), map(tensors, inputs), strict=True):
            for name, memory in target.items():
                values = source[name]
                if memory.is_cuda and not values.is_cuda and not values.is_pinned():
                    values = values.pin_memory()  # torch keeps it until it has been read
                memory.copy_(values, non_blocking=True)

    def run(self) -> None:
        self.outputs = self.function(*self.inputs)


def require_capturable(optimizer: str, device: torch.device, *, recompute: bool) -> None:
    """Raises UserError if a training's steps cannot be captured."""
    problems = {
        f"the training is on {device.type}": device.type != "cuda",
        f"there are {world_size()} processes": world_size() > 1,
        f"optim.kind is {optimizer}": optimizer != "sgd",
        "run.recompute is on": recompute,
    }
    found = next((text for text, holds in problems.items() if holds), None)
    if found is not None:
        raise UserError(
            "run.cuda_graph needs one process, a CUDA GPU, SGD and no run.recompute, "
            f"but {found}; use run.cuda_graph=false"
        )


class GraphedSteps:
    """A `TrainingStep` whose steps are captured and replayed, `steps` at a time where nothing is due before.

    SGD only. Equal to the step itself up to the rounding of torch's fused SGD, whose rate lies on the GPU.

    Args:
        step: its micro-batches are dataclasses, see `MicroBatch`.
        record: see `GraphedFunction`. Here a shape is that of all micro-batches of a launch.
        steps: of a launch. More than one only where micro-batches are small and of one shape: those of a
            launch lie on the GPU at once.
    """

    def __init__(self, step: TrainingStep, record: Record | None = None, *, steps: int = STEPS) -> None:
        self.step, self.steps, self.record = step, steps, record
        self.launch: GraphedFunction[dict[str, Tensor]] | None = None

    def __call__(self, state: TrainState, batches: Iterator[MicroBatch], limit: int) -> StepReport:
        """Takes `steps` steps, or one where fewer are allowed."""
        steps = self.steps if limit >= self.steps else 1
        taken = list(islice(batches, steps * self.step.optim.accumulate))
        rates = [self.step.lr(state, state.step + number) for number in range(steps)]
        if self.launch is None:
            # SGD reads its rate on the device, and has the momenta that it would make in its first step.
            for group in state.optimizer.param_groups:
                group["fused"], group["foreach"] = True, False
                for parameter in group["params"]:
                    values = state.optimizer.state[parameter]
                    if values.get("momentum_buffer") is None:
                        values["momentum_buffer"] = torch.zeros_like(parameter)
            # Not a method of this object: in a cycle the memory of a training would outlive it.
            take = partial(_take, self.step, state)
            self.launch = GraphedFunction(take, self.step.device, self.record)
        totals = self.launch(torch.tensor(rates), *taken)
        set_lr(state.optimizer, rates[-1])  # a number again: for reports and checkpoints
        losses = {name: value.clone() for name, value in totals.items()}
        return StepReport(losses, taken, steps)


def _take(step: TrainingStep, state: TrainState, rates: Tensor, *batches: MicroBatch) -> dict[str, Tensor]:
    """Takes a step with each of the rates, which lie on the device; gives the sums of the loss terms."""
    totals: dict[str, Tensor] = {}
    left = iter(batches)
    for rate in rates.unbind():
        for name, value in step(state, left, lr=rate).losses.items():
            totals[name] = totals.get(name, 0) + value
    return totals


@contextmanager
def _side_stream(device: torch.device) -> Iterator[None]:
    """Runs the block on the stream of captures, as what is to be captured later must be."""
    if device.type != "cuda":
        yield
        return
    stream, current = _stream(get_ident(), torch.cuda.current_device()), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)
