"""What a training step will need of memory, from three tiny steps on the CPU."""

from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from detection.config import DetectionConfig
from detection.model.detector import FasterRCNN
from detection.types import Batch

SIDE = 128  # of the tiny pictures; a multiple of every stride
REGIONS = 8
MOMENTS = {"sgd": 1, "lamb": 2, "adamw": 2}  # tensors an optimiser keeps for each parameter


@dataclass(frozen=True)
class StepMemory:
    """Bytes of one process."""

    parameters: int  # and buffers
    training: int  # gradients, the optimiser's averages, and the averaged weights if there are any
    activations: int  # kept from forward to backward for one micro-batch

    @property
    def total(self) -> int:
        """What is alive when the backward pass begins; its own workspace comes on top."""
        return self.parameters + self.training + self.activations


def estimate(config: DetectionConfig, model: FasterRCNN, size: tuple[int, int], pictures: int) -> StepMemory:
    """The memory of a step of `pictures` at once, padded to `size` (height, width).

    What autograd keeps of a picture is linear in its pixels and regions: three steps of one give the line.
    """
    bf16 = config.run.precision == "bf16"
    small = _kept(model, (SIDE, SIDE), REGIONS, bf16)
    per_pixel = (_kept(model, (SIDE, 2 * SIDE), REGIONS, bf16) - small) / SIDE**2
    per_region = (_kept(model, (SIDE, SIDE), 2 * REGIONS, bf16) - small) / REGIONS
    fixed = small - per_pixel * SIDE**2 - per_region * REGIONS
    one = per_pixel * size[0] * size[1] + per_region * config.roi.regions_per_image
    own = sum(tensor.nbytes for tensor in chain(model.parameters(), model.buffers()))
    trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    copies = 1 + MOMENTS[config.optim.kind] + (config.optim.ema_decay is not None)
    return StepMemory(own, copies * trained, round(pictures * (max(fixed, 0) + one)))


def _kept(model: FasterRCNN, size: tuple[int, int], regions: int, bf16: bool) -> int:
    """Bytes that autograd keeps, but for the own tensors of `model`, which stays set to `regions`."""
    model.roi_heads.options = replace(model.roi_heads.options, regions_per_image=regions)
    own = {t.untyped_storage().data_ptr() for t in chain(model.parameters(), model.buffers())}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            kept[place] = tensor  # held, so that no address is used twice
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, bf16):
        model.train()(_noise(size, model.roi_heads.mask_head is not None))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _noise(size: tuple[int, int], masks: bool) -> Batch:
    """One picture with one object."""
    height, width = size
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.randint(256, (1, 3, height, width), dtype=torch.uint8, generator=generator),
        sizes=torch.tensor([size]),
        scales=torch.ones(1, 2),
        boxes=torch.tensor([[[8.0, 8, 72, 72]]]),
        labels=torch.ones(1, 1, dtype=torch.int64),
        valid=torch.ones(1, 1, dtype=torch.bool),
        seeds=torch.zeros(1, dtype=torch.int64),
        ids=[""],
        masks=torch.full((1, 1, height, width // 8), 255, dtype=torch.uint8) if masks else None,
    )
