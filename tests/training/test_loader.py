import pytest

from foundation.errors import UserError
from training.loader import BatchLoader, Item

ITEMS = [[Item(0, 0), Item(1, 0)], [Item(2, 0)], [Item(3, 0)]]


def read(items):
    if items[0].index == 2:
        raise UserError("picture 2 is broken; replace it")
    return [item.index for item in items]


def fail(items):
    raise KeyError("a bug of ours")


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_until_a_user_error(workers):
    seen = []
    with pytest.raises(UserError) as caught:
        for batch in BatchLoader(read, ITEMS, workers):
            seen.append(batch)
    assert seen == [[0, 1]]
    assert str(caught.value) == "picture 2 is broken; replace it"


@pytest.mark.parametrize("workers", [0, 1])
def test_other_errors_keep_their_traceback(workers):
    with pytest.raises(KeyError, match="a bug of ours"):
        next(iter(BatchLoader(fail, ITEMS, workers)))


def test_iterating_again_starts_again():
    loader = BatchLoader(read, ITEMS[:1], 0)
    assert list(loader) == list(loader) == [[0, 1]]


def test_a_worker_that_dies_while_it_gives_a_batch(monkeypatch: pytest.MonkeyPatch):
    """Then torch raises whatever the connection does, and not what `training.command` knows."""
    loader = BatchLoader(read, ITEMS, 0)

    def reset() -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(loader, "_loader", (reset() for _ in range(1)))
    with pytest.raises(RuntimeError, match="^DataLoader worker ended while it gave a batch: .*reset by peer"):
        next(iter(loader))
