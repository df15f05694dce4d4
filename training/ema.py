"""The exponential moving average of the weights, kept beside them during training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """avg <- d avg + (1 - d) weights after every step, of all a model's parameters and buffers.

    The running averages of batch normalisation are averaged as the weights are, since they belong to them;
    integers, such as counters, are copied. The decay d of the n-th step (1 is the first) is
    min(decay, (1 + n) / (10 + n)), so that a short training is not an average of its beginning.

    Everything stays on the device, and addresses do not change: no step waits for the host, and a step may be
    captured in a CUDA graph. Every process of a run keeps its own.

    Args:
        model: the network itself, on its device; not its DDP form.
        decay: between 0 and 1, for instance 0.9999.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.steps = torch.zeros((), dtype=torch.int64, device=next(model.parameters()).device)
        self.averages = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the model's weights; called once after every optimiser step."""
        self.steps += 1
        steps = self.steps.double()
        weight = (1 - ((1 + steps) / (10 + steps)).clamp(max=self.decay)).float()
        averages, values = [], []
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                averages.append(self.averages[name])
                values.append(value)
            else:
                self.averages[name].copy_(value)
        changes = torch._foreach_sub(values, averages)
        torch._foreach_mul_(changes, weight)
        torch._foreach_add_(averages, changes)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the model holds the averages; after it its own weights again, to the bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.model.state_dict().items():
            kept = value.clone()
            value.copy_(self.averages[name])
            self.averages[name].copy_(kept)

    def state_dict(self) -> dict[str, Tensor | dict[str, Tensor]]:
        """What a checkpoint holds."""
        return {"steps": self.steps, "averages": self.averages}

    def load_state_dict(self, content: dict) -> None:
        """Goes back to where `state_dict` was taken."""
        self.steps.copy_(content["steps"])
        for name, value in self.averages.items():
            value.copy_(content["averages"][name])
