"""A set of shards is whole, or it is refused with the remedy, whenever its writer is killed."""

import json
import os
import random
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from classification.data.class_folders import list_folder
from classification.data.shard_list import LIST_FILE
from classification.data.shards import ShardReader, shard_files, write_shards
from foundation.errors import UserError


@pytest.fixture
def shards(folder_root, tmp_path) -> Path:
    """Three shards of five, five and two pictures in train/ below this folder."""
    write_shards(folder_root, "train", tmp_path / "shards", pictures_per_shard=5)
    return tmp_path / "shards"


def refusal(root: Path, split: str = "train") -> str:
    with pytest.raises(UserError) as caught:
        ShardReader(root, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_list_says_what_was_written(shards):
    content = json.loads((shards / "train" / LIST_FILE).read_text())
    sizes = {path.name: path.stat().st_size for path in sorted((shards / "train").glob("*.tar"))}
    assert content == {"complete": True, "shards": sizes} and len(sizes) == 3


def test_a_set_whose_writer_was_killed_is_refused_and_written_anew(folder_root, shards):
    folder = shards / "train"
    (folder / LIST_FILE).write_text('{"complete": false}')
    (folder / "train-000002.tar").unlink()
    (folder / ".train-000002.tar.k3x9").write_bytes(b"half")
    for split in ("train", "train/train-*.tar", "train/train-{000000..000001}.tar"):
        assert refusal(shards, split) == (
            f"the shards in {folder} were not finished, for their writer was stopped; run "
            "tools/make_shards.py again with --splits train, which writes them anew"
        )
    write_shards(folder_root, "train", shards, pictures_per_shard=12)
    assert sorted(os.listdir(folder)) == [LIST_FILE, "train-000000.tar"]
    assert len(ShardReader(shards, "train").labels) == 12


def test_a_set_killed_before_its_first_shard(folder_root, shards):
    for path in (shards / "train").glob("*.tar"):
        path.unlink()
    (shards / "train" / LIST_FILE).write_text('{"complete": false}')
    assert "were not finished" in refusal(shards)


@pytest.mark.parametrize("split", ["train", "train/*.tar", "train/train-*.tar"])
def test_a_missing_shard(shards, split):
    (shards / "train" / "train-000001.tar").unlink()
    assert f"{shards / 'train'} lacks train-000001.tar of 3 shards; copy it again" in refusal(shards, split)
    kept = shard_files(shards, "train/train-00000[02].tar")  # what was asked for is there
    assert [path.name for path in kept] == ["train-000000.tar", "train-000002.tar"]


def test_a_missing_shard_in_braces_is_named(shards):
    (shards / "train" / "train-000001.tar").unlink()
    assert "no shard" in refusal(shards, "train/train-{000000..000002}.tar")


def test_shards_that_are_not_those_written(shards):
    first, added = shards / "train" / "train-000000.tar", shards / "train" / "more.tar"
    shutil.copyfile(first, added)
    assert f"{added} is none of the 3 shards in" in refusal(shards)
    added.unlink()
    size = first.stat().st_size
    with first.open("ab") as file:
        file.write(bytes(512))  # zeros at the end are legal in a tar file
    assert f"{first} has {size + 512} bytes, {size} were written; remove" in refusal(shards)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"complete": true}', '{"complete": true, "shards": {"a": "1"}}']
)
def test_a_damaged_list(shards, text):
    (shards / "train" / LIST_FILE).write_text(text)
    assert "is no list of shards" in refusal(shards)


def test_sets_without_a_list_are_read_and_never_removed(folder_root, shards):
    (shards / "train" / LIST_FILE).unlink()  # as of earlier releases, and of others
    assert len(ShardReader(shards, "train").labels) == 12
    with pytest.raises(UserError, match="train holds shards already; remove them or choose another folder"):
        write_shards(folder_root, "train", shards)
    assert len(list((shards / "train").glob("*.tar"))) == 3


def test_killed_at_random_moments(folder_root, tmp_path, kill_after):
    root, outcomes = tmp_path / "killed", []
    write = partial(write_shards, folder_root, "train", pictures_per_shard=3)
    expected = [list_folder(folder_root, "train").content(i) for i in range(12)]
    started = time.perf_counter()
    write(tmp_path / "whole")
    duration, rng = time.perf_counter() - started, random.Random(0)
    for _ in range(25):
        shutil.rmtree(root, ignore_errors=True)
        kill_after(rng.uniform(0, 1.2 * duration), partial(write, root))
        try:
            reader = ShardReader(root, "train")
        except UserError as error:
            outcomes.append("not finished" if "were not finished" in str(error) else "nothing yet")
            write(root)
            reader = ShardReader(root, "train")
        else:
            outcomes.append("whole")
        assert [reader.content(i) for i in range(len(reader.labels))] == expected
        assert not list((root / "train").glob(".*"))
    assert "not finished" in outcomes
