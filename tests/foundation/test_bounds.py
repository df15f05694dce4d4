"""Sizes that files state are compared with their bytes."""

import zipfile
from pathlib import Path

import pytest

from foundation.bounds import UNFOLDED, BoundsError, check_archive, check_unfolded


def write(path: Path, compression: int) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("zeros", bytes(1000))
    return path


def test_stored_entries_are_no_larger_than_their_archive(tmp_path):
    check_archive(write(tmp_path / "a.zip", zipfile.ZIP_STORED))
    path = write(tmp_path / "b.zip", zipfile.ZIP_DEFLATED)
    size = path.stat().st_size
    assert size < 200
    with pytest.raises(BoundsError, match=rf"^its entries unpack to 1,000 bytes from {size}, expected unc"):
        check_archive(path)


def test_containers_are_counted_as_written_out():
    many = [[list(range(999))] * 10] * 10  # 1 + 10 * (1 + 10 * (1 + 999)) = 100,011 values
    with pytest.raises(BoundsError, match=r"that they stand for 1e\+05 values"):
        check_unfolded(many)
    assert UNFOLDED == 100_000
    check_unfolded(many, 100_011)
    with pytest.raises(BoundsError):
        check_unfolded(many, 100_010)
    check_unfolded(many[0] * 9)  # 90,001


def test_tuples_as_keys_count():
    key: tuple = ()
    for _ in range(20):
        key = (key, key)
    with pytest.raises(BoundsError, match="stand for 2e"):
        check_unfolded({key: 1})  # 2 ** 21 - 1, and two more
    check_unfolded({"a": [1, (2, 3)], (1, 2): None})


def test_a_container_that_holds_itself():
    content: dict = {}
    content["a"] = [content]
    with pytest.raises(BoundsError, match="holds itself"):
        check_unfolded(content)
