"""The same network before its training."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor

from backbones import create_model
from backbones.families import Options
from backbones.norm import calibrate_batchnorm, norm_eps, set_norm_eps
from backbones.spec import Network
from training.seeding import DRAWING, seeded


def untrained(network: Network, images: Iterable[Tensor], seed: int) -> Network:
    """A network of the same name and options as it is drawn, in evaluation mode.

    Its normalisation gets the statistics that it would have in training, since frozen at 0 and 1 a deep
    network's activations explode.

    Args:
        images: batches (N, 3, H, W) of normalised pictures, of equal size; the first step of a training
            would normalise with their statistics.
        seed: of the weights.
    """
    kept = {name: value for name, value in network.options.items() if name in Options.__annotations__}
    with DRAWING, seeded(seed):
        model = create_model(network.name, num_classes=network.options["num_classes"], **cast(Options, kept))
    model.input_spec = network.input_spec
    set_norm_eps(model, norm_eps(network))
    model.to(next(network.parameters()).device).eval()
    calibrate_batchnorm(model, images)
    return model
