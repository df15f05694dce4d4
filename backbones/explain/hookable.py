"""A network in a form that libraries of hooks understand: each ReLU a module of its own, and one map too."""

from itertools import chain
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import nn
from torch.fx import GraphModule, Node, Tracer

from backbones.spec import Network
from foundation.errors import check_choice

MARK = "explained_map"  # the module that the map passes
_RELUS = (torch.relu, torch.relu_, F.relu)


def hookable(network: Network, feature: str) -> GraphModule:
    """The same classifier, with the same parameters, whose ReLUs and one of whose maps hooks can reach.

    Our blocks call ReLU as a function, in place, and networks may call one module twice. Hooks on modules do
    not see the former, and those of captum's guided backpropagation need a module for each ReLU.

    Args:
        network: in evaluation mode.
        feature: of `network.feature_specs`; its map passes the attribute `MARK`, which does nothing.
    Returns:
        Pictures (N, 3, H, W) → logits (N, K).
    Raises:
        OptionError: the network has no such feature.
    """
    check_choice("feature", feature, network.feature_specs)
    tracer = _CountingTracer()
    graph = tracer.trace(network)
    traced = GraphModule(network, graph)
    # A child that comes again among the stages is called again; this is its call that ends the feature.
    stages = list(network.stages)
    children = [*chain.from_iterable(network.stages[stage] for stage in stages[: stages.index(feature) + 1])]
    end = tracer.results[children[-1]][children.count(children[-1]) - 1]
    _insert(traced, end, MARK, nn.Identity())
    for number, node in enumerate([node for node in graph.nodes if _is_relu(traced, node)]):
        _insert(traced, node, f"relu_{number}", nn.ReLU())
        node.replace_all_uses_with(node.all_input_nodes[0])
        graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


class _CountingTracer(Tracer):
    """Remembers, for every module, what each call of it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.results: dict[str, list[Node]] = {}

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        result = super().call_module(m, forward, args, kwargs)
        self.results.setdefault(self.path_of_module(m), []).append(result.node)
        return result


def _insert(traced: GraphModule, node: Node, name: str, module: nn.Module) -> None:
    """Puts a module behind a node, before everything that uses it."""
    traced.add_submodule(name, module)
    with traced.graph.inserting_after(node):
        new = traced.graph.call_module(name, (node,))
    node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)


def _is_relu(traced: GraphModule, node: Node) -> bool:
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), nn.ReLU)
    return node.target in _RELUS or (node.op == "call_method" and node.target in ("relu", "relu_"))
