"""What a network loses with its blocks (Veit et al. 2016, §4): deleted one by one, several, reordered."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.arrays import Arrays, Batches, check_pictures, to_arrays
from analysis.networks.chain import Chain
from backbones.lesion import reordered_blocks, same_shapes, without_blocks
from backbones.norm import folded_copy
from backbones.spec import Network
from foundation.errors import UserError, check_choice
from training.config import require_positive

# What is tried by default, as far as there are blocks; Veit et al. 2016 delete up to 20.
DELETED = (1, 2, 3, 5, 8, 12, 20)
SWAPPED = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class LesionOptions:
    """Which lesions are tried, on how many pictures.

    Attributes:
        pictures: number of pictures on which single blocks are deleted; None takes all.
        drawn_pictures: number of pictures, the first, on which random lesions are tried.
        blocks: blocks that single deletions try, as "res3.1"; empty takes all.
        deleted: numbers of blocks deleted at once; None takes `DELETED`.
        swapped: numbers of swaps of two blocks of equal shape, one after the other; None takes
            `SWAPPED`.
        draws: random lesions of each number.
    """

    pictures: int | None = None
    drawn_pictures: int = 2000
    blocks: tuple[str, ...] = ()
    deleted: tuple[int, ...] | None = None
    swapped: tuple[int, ...] | None = None
    draws: int = 20

    def __post_init__(self) -> None:
        require_positive(self, "pictures", "drawn_pictures", "draws")


@dataclass(frozen=True)
class Lesion:
    """One lesion: blocks deleted, or other blocks at some places."""

    deleted: tuple[str, ...] = ()  # names
    order: tuple[tuple[str, str], ...] = ()  # places, and the block that stands at each

    def inside(self, network: Network) -> AbstractContextManager[None]:
        """The context in which the network has this lesion."""
        if self.order:
            return reordered_blocks(network, dict(self.order))
        return without_blocks(network, self.deleted)

    def first(self, chain: Chain) -> int:
        """The place from which on the network differs."""
        changed = (*self.deleted, *(place for place, _ in self.order))
        return min((chain.names.index(name) for name in changed), default=len(chain) - 1)


@torch.inference_mode()
def measure_lesions(network: Network, batches: Batches, options: LesionOptions, seed: int) -> Arrays:
    """Errors of a network with lesions; what comes before a lesion's first block is computed once a batch.

    Args:
        network: in evaluation mode.
        batches: (N, 3, H, W) normalised pictures and labels (N,), in random order.
        seed: of the choice of blocks.
    Returns:
        "blocks" (B,) names, "shortcuts" whether they have any, "tried" (T,) those deleted alone. Top-1
        errors in per cent: "error" of the whole network, "drawn_error" of it on the first pictures,
        "single_error" (T,), "deleted_error" and "swapped_error" (counts, draws) on the first pictures.
        "deleted" and "swapped" (counts,) how many; "tau" (counts, draws) Kendall's rank correlation of the
        order with the whole network's; "pictures" and "drawn_pictures".
    Raises:
        OptionError: the network has no blocks, or not those asked for.
        UserError: no pictures, too few blocks for a number asked for.
    """
    folded = folded_copy(network)
    chain = Chain(folded)
    for name in options.blocks:
        check_choice("block", name, chain.names)
    singles = [Lesion((name,)) for name in options.blocks or chain.names]
    pairs = [pair for group in same_shapes(chain.network) for pair in combinations(group, 2)]
    deleted = _counts(options.deleted, DELETED, len(chain), "lesion.deleted", "blocks")
    what = "pairs of blocks of equal shape"
    swapped = _counts(options.swapped, SWAPPED, len(pairs), "lesion.swapped", what)
    rng = np.random.default_rng(seed)
    deletions = [_draw_deletion(rng, chain, k) for k in deleted for _ in range(options.draws)]
    orders = [_draw_order(rng, pairs, k) for k in swapped for _ in range(options.draws)]
    on_first = [Lesion(), *deletions, *orders]
    wrong, seen = _count_errors(chain, batches, [Lesion(), *singles], on_first, options.drawn_pictures)
    check_pictures(seen[0])
    counts = to_arrays({"all": wrong[0], "first": wrong[1]})
    single, drawn = 100 * counts["all"] / seen[0], 100 * counts["first"] / seen[1]
    of_deleted, of_swapped = np.split(drawn[1:], [len(deletions)])
    taus = [
        kendall_tau([chain.names.index(dict(lesion.order).get(name, name)) for name in chain.names])
        for lesion in orders
    ]
    return {
        "blocks": np.array(chain.names),
        "shortcuts": np.array(chain.has_shortcuts()),
        "tried": np.array([lesion.deleted[0] for lesion in singles]),
        "error": single[0],
        "single_error": single[1:],
        "drawn_error": drawn[0],
        "deleted": np.array(deleted),
        "deleted_error": of_deleted.reshape(len(deleted), options.draws),
        "swapped": np.array(swapped),
        "swapped_error": of_swapped.reshape(len(swapped), options.draws),
        "tau": np.array(taus).reshape(len(swapped), options.draws),
        "pictures": np.array(seen[0]),
        "drawn_pictures": np.array(seen[1]),
    }


def _count_errors(
    chain: Chain, batches: Batches, on_all: Sequence[Lesion], on_first: Sequence[Lesion], first_pictures: int
) -> tuple[list[Tensor], list[int]]:
    """Wrong answers of each lesion, on all pictures and on the first ones, and the numbers of pictures."""
    counts: tuple[dict[Lesion, Tensor], ...] = ({}, {})
    seen = [0, 0]
    for images, labels in batches:
        inputs = chain.inputs(images)
        few = max(0, min(len(images), first_pictures - seen[1]))
        for part, lesions, number in ((0, on_all, len(images)), (1, on_first, few)):
            seen[part] += number
            for lesion in dict.fromkeys(lesions) if number else ():  # draws may repeat
                first = lesion.first(chain)
                with lesion.inside(chain.network):
                    logits = chain.run(inputs[first][:number], first)
                counts[part][lesion] = count_wrong(logits, labels[:number]) + counts[part].get(lesion, 0)
    wrongs = [
        torch.stack([of[lesion] for lesion in lesions]) if of else torch.zeros(0)
        for of, lesions in zip(counts, (on_all, on_first), strict=True)
    ]
    return wrongs, seen


def count_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """The number of wrong answers among logits (N, K): a label must beat every other class."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1, keepdim=True)
    return (~(own > others)).sum()


def _counts(
    given: Sequence[int] | None, default: Sequence[int], most: int, option: str, what: str
) -> list[int]:
    """The numbers asked for, or those of the default that are possible."""
    if given is None:
        return [k for k in default if k <= most]
    if given and not most:
        raise UserError(f"{option}: the network has no {what}; leave it out, got {list(given)}")
    for k in given:
        if not 1 <= k <= most:
            raise UserError(f"{option} must be from 1 to {most}, the number of {what}, got {k}")
    return list(given)


def _draw_deletion(rng: np.random.Generator, chain: Chain, count: int) -> Lesion:
    places = sorted(rng.choice(len(chain), count, replace=False).tolist())
    return Lesion(deleted=tuple(chain.names[place] for place in places))


def _draw_order(rng: np.random.Generator, pairs: Sequence[tuple[str, str]], count: int) -> Lesion:
    """`count` swaps one after the other, each of two blocks of equal shape."""
    at: dict[str, str] = {}
    for one, other in (pairs[i] for i in rng.integers(len(pairs), size=count)):
        at[one], at[other] = at.get(other, other), at.get(one, one)
    return Lesion(order=tuple((place, block) for place, block in at.items() if place != block))


def kendall_tau(ranks: Sequence[int]) -> float:
    """Kendall's rank correlation of an order of different numbers with the ascending one, from −1 to 1."""
    pairs = [a < b for a, b in combinations(ranks, 2)]
    return 2 * sum(pairs) / len(pairs) - 1 if pairs else 1.0


def summarise_lesions(arrays: Arrays) -> dict[str, Any]:
    """Errors in per cent: of the whole network, without each block, and for each number of random lesions.

    Of the draws the mean and the 2.5 % and 97.5 % quantiles.
    """
    tau = arrays["tau"].mean(axis=1) if len(arrays["tau"]) else []
    blocks = len(arrays["blocks"])
    return {
        "pictures": int(arrays["pictures"]),
        "drawn_pictures": int(arrays["drawn_pictures"]),
        "blocks": blocks,
        "error": float(arrays["error"]),
        "single_deletions": dict(zip(arrays["tried"].tolist(), arrays["single_error"].tolist(), strict=True)),
        "single_median": float(np.median(arrays["single_error"])),
        "deletions": [
            {"deleted": k, "paths_left": 2 ** (blocks - k) if arrays["shortcuts"] else 1, **_spread(row)}
            for k, row in zip(arrays["deleted"].tolist(), arrays["deleted_error"], strict=True)
        ],
        "swaps": [
            {"swapped": int(k), "tau": float(t), **_spread(row)}
            for k, t, row in zip(arrays["swapped"], tau, arrays["swapped_error"], strict=True)
        ],
    }


def _spread(errors: Any) -> dict[str, float]:
    low, high = np.quantile(errors, (0.025, 0.975)).tolist()
    return {"mean": float(errors.mean()), "low": low, "high": high}
