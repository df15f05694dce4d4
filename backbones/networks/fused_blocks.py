"""Convolutions for inference on a CPU: the sum of a block and the ReLU happen inside oneDNN's convolution.

The values are those of the modules they replace, to rounding; oneDNN's ReLU makes 0 of what is not a number.
Where the fused operation does not apply (other devices, gradients, tracing, no pictures), torch's ordinary
operations compute.
"""

from typing import Any

import torch
from torch import Tensor, nn

from backbones.networks.blocks import BasicBlock, Bottleneck, PlainBlock

_BLOCKS = (PlainBlock, BasicBlock, Bottleneck)
_ONEDNN: Any = torch.ops.mkldnn


class FusedConv2d(nn.Conv2d):
    """A convolution of fixed weights; a term may be added to what it gives, and a ReLU may follow.

    Args:
        conv: whose parameters it shares.
        activate: end in a ReLU.
    """

    def __init__(self, conv: nn.Conv2d, *, activate: bool = False) -> None:
        super().__init__(1, 1, 1, device="meta")
        self.__dict__.update(conv.__dict__)
        self.activate = activate
        self._packed: tuple[Any, Tensor] | None = None  # weights in oneDNN's own order, and of what state

    def forward(self, x: Tensor, term: Tensor | None = None) -> Tensor:
        """(N, C, H, W) → (N, K, h, w); a term of that size is given up: the sum may be written over it."""
        cast = torch.is_autocast_enabled("cpu")
        if cast:
            x = x.to(torch.get_autocast_dtype("cpu"))
        if not (self._fuses(x) and (cast or x.dtype == self.weight.dtype)):
            x = super().forward(x)
            x = x if term is None else x + term
            return x.relu() if self.activate else x
        weight, bias = self._pack(x), None if self.bias is None else self.bias.to(x.dtype)
        inputs = (weight, bias, self.padding, self.stride, self.dilation, self.groups)
        relu = "relu" if self.activate else None
        if term is None:
            return _ONEDNN._convolution_pointwise(x, *inputs, relu or "none", [], "")
        term = term.to(x.dtype)
        return _ONEDNN._convolution_pointwise_.binary(term, x, *inputs, "add", 1.0, relu, [], "")

    def _fuses(self, x: Tensor) -> bool:
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return False
        learns = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        here = x.device.type == self.weight.device.type == "cpu" and x.numel() > 0 and not learns
        return here and _computes(x.dtype)

    def _pack(self, x: Tensor) -> Tensor:
        """The weights for inputs like this one; another order than the best for a size costs time alone."""
        weight = self.weight
        state = x.dtype, weight.data_ptr(), 0 if weight.is_inference() else weight._version
        if self._packed is None or self._packed[0] != state:
            where = (self.padding, self.stride, self.dilation, self.groups)
            ordered = _ONEDNN._reorder_convolution_weight(weight.detach().to(x.dtype), *where, list(x.shape))
            self._packed = state, ordered
        return self._packed[1]

    def __getstate__(self) -> dict[str, Any]:
        """Without the packed weights, which can be neither copied nor saved."""
        return self.__dict__ | {"_packed": None}


def _computes(dtype: torch.dtype) -> bool:
    """Whether oneDNN has the fused operations on this processor."""
    onednn = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    if not onednn or torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and _ONEDNN._is_mkldnn_bf16_supported())


class FusedBlock(nn.Module):
    """A plain or residual block whose normalisation is folded."""

    def __init__(self, block: PlainBlock | BasicBlock | Bottleneck) -> None:
        super().__init__()
        convolutions: list[Any] = [block.get_submodule(conv) for conv, _ in block.folds]
        *first, self.last = (FusedConv2d(conv, activate=True) for conv in convolutions)
        self.first = nn.Sequential(*first)
        self.shortcut = None if isinstance(block, PlainBlock) else block.downsample

    def forward(self, x: Tensor, *, keep: bool = True) -> Tensor:
        """(N, C, H, W) → (N, K, h, w); the input may be written over unless it is to be kept."""
        residual = self.first(x)
        if self.shortcut is None:
            return self.last(residual)
        term = self.shortcut(x)
        return self.last(residual, x.clone() if keep and term is x else term)


class FusedStage(nn.ModuleList):
    """Blocks that add to each other's outputs in place, since nobody else sees these."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, K, h, w); the input stays as it is."""
        for number, block in enumerate(self):
            x = block.forward(x, keep=number == 0)  # no call: hooks would be given what changes afterwards
        return x


def fuse_convolutions(network: nn.Module) -> None:
    """Puts fused convolutions and blocks into the place of a network's own.

    Args:
        network: changed; its normalisation is folded, and it is used for inference alone.
    """
    child: Any
    for name, child in network.named_children():
        fuse_convolutions(child)
        if type(network) is nn.Sequential and _is_folded_block(child):
            setattr(network, name, FusedBlock(child))
        elif type(child) is nn.Conv2d and child.padding_mode == "zeros" and isinstance(child.padding, tuple):
            setattr(network, name, FusedConv2d(child))
        elif (
            type(child) is nn.Sequential and all(type(block) is FusedBlock for block in child) and len(child)
        ):
            setattr(network, name, FusedStage(child))
    if type(network) is nn.Sequential:
        _fuse_activations(network)


def _is_folded_block(child: Any) -> bool:
    """Whether it is a block without normalisation; what stands in a block's place may need its methods."""
    return type(child) in _BLOCKS and all(
        type(child.get_submodule(norm)) is nn.Identity for _, norm in child.folds
    )


def _fuse_activations(layers: nn.Sequential) -> None:
    """Lets convolutions do the work of the ReLU right behind them; identities may lie between."""
    before: nn.Module | None = None
    for name, layer in layers.named_children():
        if type(layer) is nn.ReLU and isinstance(before, FusedConv2d):
            before.activate = True
            setattr(layers, name, nn.Identity())
        before = before if type(layer) is nn.Identity else layer
