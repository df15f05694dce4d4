"""How alike the layers of networks are, by linear CKA (Kornblith et al. 2019), from batch to batch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.arrays import Arrays, check_pictures, to_arrays
from analysis.networks.chain import Chain
from backbones.norm import folded_copy
from backbones.spec import Network
from foundation.errors import UserError
from training.config import require_positive

LEAST = 4  # pictures of a batch; of fewer HSIC cannot be estimated without bias
Pairs = Iterable[tuple[Tensor, Tensor]]  # the same pictures (N, 3, H, W) as each of two networks wants them


@dataclass(frozen=True)
class SimilarityOptions:
    """How similarities are measured.

    Attributes:
        pictures: number of pictures looked at; None takes all.
    """

    pictures: int | None = 10_000

    def __post_init__(self) -> None:
        require_positive(self, "pictures")


class BatchedCKA:
    """Linear CKA of every layer of one network with every layer of another, from batches of their outputs.

    Of each batch HSIC is estimated without bias (Song et al. 2012), and CKA is the ratio of its means over
    the batches (Nguyen et al. 2021, §3), where a batch of n pictures counts n(n − 3), as it has terms.
    """

    def __init__(self) -> None:
        self._across: Any = 0.0
        self._one: Any = 0.0
        self._other: Any = 0.0

    def add(self, one: Iterable[Tensor], other: Iterable[Tensor]) -> None:
        """Outputs (n, …) of L and of M layers for the same n pictures, four or more; one may be the other."""
        of_one = _centred_products(one)
        of_other = of_one if other is one else _centred_products(other)
        self._across = self._across + of_one @ of_other.T
        self._one = self._one + of_one.square().sum(1)
        self._other = self._other + of_other.square().sum(1)

    def result(self) -> Tensor:
        """(L, M) float64, 1 for layers that are alike but for rotation and scale.

        Of independent layers it is 0 on average, and so may be below. A layer that answers alike to all
        pictures has 0 with every layer, and one with outputs that are not finite has NaN.
        """
        sizes = (self._one[:, None] * self._other).sqrt()
        return torch.where(sizes == 0, 0.0, self._across / sizes)


def _centred_products(outputs: Iterable[Tensor]) -> Tensor:
    """(L, n²) float64: of each layer the products of pictures with each other, centred.

    K'_ij = K_ij − Σ_k K_ik / (n − 2) − Σ_k K_kj / (n − 2) + Σ_kl K_kl / ((n − 1)(n − 2)), where the diagonal
    is left out and stays 0. The sum of K' · L' over n(n − 3) is HSIC_1 of Song et al. 2012 (Székely and Rizzo
    2014).
    """
    found = []
    for output in outputs:
        rows = output.movedim(1, -1).flatten(1)  # no copy in channels_last
        rows = rows - rows.mean(0)  # only for less rounding: the products are centred below
        products = (rows @ rows.T).double().fill_diagonal_(0)
        means = products.sum(1) / (len(rows) - 2)
        centred = products - means[:, None] - means + means.sum() / (len(rows) - 1)
        found.append(centred.fill_diagonal_(0).flatten())
    return torch.stack(found)


@torch.inference_mode()
def measure_similarity(one: Network, other: Network, batches: Pairs) -> Arrays:
    """Linear CKA of the layers of two networks, or of a network with itself.

    Layers are the stem (what enters the first block) and every block, whose output counts behind the addition
    and the ReLU that follows it.

    Args:
        one, other: in evaluation mode; twice the same for a network with itself.
        batches: pairs of (N, 3, H, W), the same pictures as each network wants them; batches of fewer than
            four pictures are left out.
    Returns:
        "layers" (L,) and "other_layers" (M,) names, "similarity" (L, M) float64, "itself" whether it is one
        network, "pictures".
    Raises:
        OptionError: a network has no blocks.
        UserError: no pictures, or in no batch four of them.
    """
    networks = [one] if other is one else [one, other]
    chains = [Chain(folded_copy(net)) for net in networks]
    sums = BatchedCKA()
    pictures = seen = 0
    for pair in batches:
        seen += len(pair[0])
        if len(pair[0]) < LEAST:
            continue
        outputs = [_layer_outputs(*each) for each in zip(chains, pair[: len(chains)], strict=True)]
        sums.add(outputs[0], outputs[-1])
        pictures += len(pair[0])
    check_pictures(seen)
    if not pictures:
        raise UserError(
            f"similarities are of batches of at least {LEAST} pictures, got {seen} pictures in smaller ones; "
            "raise run.batch_size or similarity.pictures, or choose another data.val_split"
        )
    names = [np.array(["stem", *chain.names]) for chain in chains]
    return {
        "layers": names[0],
        "other_layers": names[-1],
        **to_arrays({"similarity": sums.result()}),
        "itself": np.array(other is one),
        "pictures": np.array(pictures),
    }


def _layer_outputs(chain: Chain, images: Tensor) -> Iterator[Tensor]:
    """One after the other, so that two at most are held."""
    x = chain.enter(images, 0)
    yield x
    yield from chain.outputs(x)


def summarise_similarity(arrays: Arrays) -> dict[str, Any]:
    """How alike a network's layers are on average; of two networks also which is closest to each of one."""
    found = arrays["similarity"]
    counts = {"pictures": int(arrays["pictures"]), "layers": len(arrays["layers"])}
    if arrays["itself"]:
        different = found[~np.eye(len(found), dtype=bool)]
        neighbours = float(np.diagonal(found, 1).mean())
        return {**counts, "mean_of_different_layers": float(different.mean()), "neighbours": neighbours}
    names, closest = arrays["other_layers"].tolist(), found.argmax(axis=1).tolist()
    rows = zip(arrays["layers"].tolist(), found, closest, strict=True)
    return {
        **counts,
        "other_layers": len(names),
        "mean": float(found.mean()),
        "closest": [{"layer": a, "closest": names[b], "similarity": float(row[b])} for a, row, b in rows],
    }
