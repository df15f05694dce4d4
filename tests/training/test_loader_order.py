from collections import Counter
from itertools import islice

import pytest

from foundation.errors import UserError
from training.loader import Item, TrainSampler, evaluation_shard
from training.seeding import item_seed


def batches(count: int, length: int, batch_size: int, **options) -> list[list[Item]]:
    return list(islice(TrainSampler(length, batch_size, **{"seed": 0, **options}), count))


def indices(sampled: list[list[Item]]) -> list[int]:
    return [item.index for batch in sampled for item in batch]


def test_every_item_once_an_epoch_across_batches():
    # 7 items in batches of 3: 7 batches are 21 items, three epochs.
    order = indices(batches(7, 7, 3))
    epochs = [order[start : start + 7] for start in (0, 7, 14)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(7))] * 3
    assert epochs[0] != epochs[1] != epochs[2]


def test_batches_larger_than_the_set():
    # Three items, batches of 5: positions 0-4 hold the first epoch and two of the second.
    first, second, third = batches(3, 3, 5)
    assert {len(first), len(second), len(third)} == {5}
    assert Counter(indices([first, second, third])) == {0: 5, 1: 5, 2: 5}


def test_one_item():
    assert batches(2, 1, 1) == [[Item(0, item_seed(0, 0, 0))], [Item(0, item_seed(0, 1, 0))]]


def test_seeds_are_of_the_epoch_and_the_index():
    for position, item in enumerate(item for batch in batches(4, 6, 3, seed=5) for item in batch):
        assert item.seed == item_seed(5, position // 6, item.index)


def test_the_seed_decides_the_order():
    assert batches(3, 20, 4, seed=1) == batches(3, 20, 4, seed=1)
    assert indices(batches(3, 20, 4, seed=1)) != indices(batches(3, 20, 4, seed=2))


def test_iterating_again_begins_again():
    sampler = TrainSampler(10, 2, seed=0, start_step=3)
    assert list(islice(sampler, 4)) == list(islice(sampler, 4))


GROUPS = [0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 2]


@pytest.mark.parametrize("groups", [None, GROUPS])
@pytest.mark.parametrize("batch_size", [2, 4, 12])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_resumed_at_any_step_the_rest_is_the_same(batch_size: int, groups: list[int] | None, accumulate: int):
    options = {"groups": groups, "accumulate": accumulate}
    whole = batches(16 * accumulate, 11, batch_size, **options)
    for step in range(16):
        rest = batches((16 - step) * accumulate, 11, batch_size, **options, start_step=step)
        assert rest == whole[step * accumulate :]


@pytest.mark.parametrize("groups", [None, GROUPS])
@pytest.mark.parametrize(("world_size", "accumulate"), [(2, 1), (2, 3), (3, 2), (4, 3)])
def test_processes_see_what_one_sees_with_as_many_micro_batches(
    world_size: int, accumulate: int, groups: list[int] | None
):
    parts = world_size * accumulate
    options = {"groups": groups, "start_step": 2}
    one = batches(4 * parts, 11, 12, accumulate=parts, **options)
    options |= {"world_size": world_size, "accumulate": accumulate}
    shares = [batches(4 * accumulate, 11, 12, rank=rank, **options) for rank in range(world_size)]
    for step in range(4):
        own = slice(step * accumulate, (step + 1) * accumulate)
        assert [part for share in shares for part in share[own]] == one[step * parts : (step + 1) * parts]
    assert {len(part) for part in one} == {12 // parts}


@pytest.mark.parametrize("accumulate", [2, 3, 12])
def test_without_groups_a_batch_is_the_same_in_any_parts(accumulate: int):
    whole, parts = batches(4, 11, 12), batches(4 * accumulate, 11, 12, accumulate=accumulate)
    for step, batch in enumerate(whole):
        assert indices(parts[step * accumulate : (step + 1) * accumulate]) == indices([batch])


def test_grouped_micro_batches_by_hand(monkeypatch: pytest.MonkeyPatch):
    # Items 0 to 7 in order, group 0 for the even ones. Pairs get full at 2, 3, 6 and 7, fours at 6 and 7.
    monkeypatch.setattr(TrainSampler, "_stream", lambda self, position: ((0, i) for i in range(position, 8)))
    groups = [0, 1] * 4
    assert [[item.index for item in part] for part in batches(4, 8, 4, groups=groups, accumulate=2)] == [
        *([0, 2], [1, 3]),
        *([4, 6], [5, 7]),
    ]
    assert [[item.index for item in part] for part in batches(2, 8, 4, groups=groups)] == [
        [0, 2, 4, 6],
        [1, 3, 5, 7],
    ]
    second = batches(2, 8, 4, groups=groups, rank=1, world_size=2)
    assert [[item.index for item in part] for part in second] == [[1, 3], [5, 7]]


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 1), (2, 1), (1, 4), (2, 2)])
def test_micro_batches_are_of_one_group_and_every_item_comes_once_an_epoch(world_size: int, accumulate: int):
    groups = [index % 3 == 0 for index in range(20)]  # 7 and 13
    options = {"groups": groups, "world_size": world_size, "accumulate": accumulate}
    shares = [batches(300 * accumulate, 20, 4, rank=rank, **options) for rank in range(world_size)]
    sampled = [part for share in shares for part in share]
    assert all(len({groups[item.index] for item in part}) == 1 for part in sampled)
    # 1,200 items are 60 epochs; at most 3 of each group wait, so nobody is more than one epoch behind.
    counts = Counter(indices(sampled))
    assert set(counts) == set(range(20))
    assert 59 <= min(counts.values()) <= max(counts.values()) <= 61
    seeds = [item.seed for part in sampled for item in part]
    assert len(set(seeds)) == len(seeds)


def test_steps_mix_groups_unless_they_are_one_micro_batch():
    groups = [index % 2 for index in range(40)]

    def mixed(accumulate: int) -> int:
        parts = batches(100 * accumulate, 40, 8, groups=groups, accumulate=accumulate)
        steps = [indices(parts[i : i + accumulate]) for i in range(0, len(parts), accumulate)]
        return sum(len({groups[index] for index in step}) == 2 for step in steps)

    # Four fair coins are of one side with probability 1 / 8; pairs are somewhat more even.
    assert mixed(1) == 0
    assert mixed(4) > 85
    assert mixed(8) > 95


def test_what_has_come_by_a_step_differs_by_what_waits():
    groups = [index % 3 == 0 for index in range(50)]
    by_parts = {n: batches(40 * n, 50, 8, groups=groups, accumulate=n) for n in (1, 2, 8)}
    for step in range(1, 41):
        one, two, eight = (Counter(indices(parts[: step * n])) for n, parts in by_parts.items())
        assert (one - eight).total() <= 2 * 7 and (one - two).total() <= 2 * 7


def test_groups_keep_the_order_of_the_epoch():
    # With one group nothing has to wait.
    assert batches(6, 7, 3, groups=[4] * 7) == batches(6, 7, 3)


@pytest.mark.parametrize(
    ("batch_size", "world_size", "accumulate"), [(6, 4, 1), (8, 2, 3), (1, 2, 1), (0, 1, 1), (-2, 1, 1)]
)
def test_batches_that_cannot_be_shared(batch_size: int, world_size: int, accumulate: int):
    message = (
        rf"^optim\.batch_size {batch_size} cannot be shared equally: expected a multiple of {world_size} "
        rf"processes x {accumulate} micro-batches"
    )
    with pytest.raises(UserError, match=message):
        TrainSampler(10, batch_size, seed=0, world_size=world_size, accumulate=accumulate)


def test_empty_set_and_wrong_groups():
    with pytest.raises(UserError, match="the training set is empty: expected at least one picture"):
        TrainSampler(0, 2, seed=0)
    with pytest.raises(ValueError, match="one group for each of 3 items, got 2"):
        TrainSampler(3, 2, seed=0, groups=[0, 1])


@pytest.mark.parametrize("length", [0, 1, 3, 7, 100])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_evaluation_shards_partition_the_set(length: int, world_size: int):
    shards = [evaluation_shard(length, rank, world_size) for rank in range(world_size)]
    assert [index for shard in shards for index in shard] == list(range(length))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_evaluation_shards_by_hand():
    # 7 over 3: borders at 0, 7/3, 14/3, 7, rounded down 0, 2, 4, 7.
    assert [evaluation_shard(7, rank, 3) for rank in range(3)] == [range(0, 2), range(2, 4), range(4, 7)]
