"""Shards give the pictures, labels and classes of the folders they were packed from."""

import io
import json
import pickle
import tarfile

import pytest
import torch
from PIL import Image

from classification.data.class_folders import list_folder
from classification.data.shards import ShardReader, shard_files, write_shards
from foundation.errors import UserError


@pytest.fixture
def shard_root(folder_root, tmp_path):
    """The pictures of `folder_root`, five a shard."""
    for split in ("train", "val"):
        write_shards(folder_root, split, tmp_path / "shards", pictures_per_shard=5)
    return tmp_path / "shards"


def write_tar(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("workers", [0, 2])
def test_the_first_epoch_from_shards_is_that_from_folders(folder_root, shard_root, first_epoch, workers):
    ours = first_epoch(shard_root, "shards", workers=workers)
    theirs = first_epoch(folder_root, "folder")
    assert sum(len(batch.ids) for batch in ours) == 12
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
        names = [path.rsplit("/", 2)[1:] for path in b.ids]
        assert [name.rsplit(":", 1)[1].split("/") for name in a.ids] == names


def test_shards_hold_the_files_in_the_order_of_the_folder(folder_root, shard_root):
    ours, theirs = ShardReader(shard_root, "train"), list_folder(folder_root, "train")
    assert [path.name for path in ours.shards] == [f"train-00000{i}.tar" for i in range(3)]
    assert ours.classes == theirs.classes == ["ape", "bee", "cow"]
    assert torch.equal(ours.labels, theirs.labels)
    assert [ours.content(i) for i in range(12)] == [theirs.content(i) for i in range(12)]
    assert ours.name(5) == f"{shard_root}/train/train-000001.tar:bee/1.png"
    again = pickle.loads(pickle.dumps(ours))  # for workers that are not forked
    assert again.content(11) == theirs.content(11)


def test_shards_are_the_same_every_time(folder_root, shard_root, tmp_path):
    again = write_shards(folder_root, "train", tmp_path / "again", pictures_per_shard=5)
    for path in again:
        assert path.read_bytes() == (shard_root / "train" / path.name).read_bytes()


def test_shards_are_not_mixed_with_others(folder_root, shard_root):
    with pytest.raises(UserError, match="train holds shards already; remove them or choose another folder"):
        write_shards(folder_root, "train", shard_root)
    (shard_root / "classes.txt").write_text("ape\nbee\n")
    with pytest.raises(UserError, match=r"classes\.txt lists other classes than .*val2; choose another"):
        (folder_root / "val").rename(folder_root / "val2")
        write_shards(folder_root, "val2", shard_root)


def test_two_pictures_of_one_name_are_refused(folder_root, tmp_path):
    (folder_root / "val" / "bee" / "0.png").rename(folder_root / "val" / "bee" / "1.jpg")
    (folder_root / "val" / "bee" / "1.mid.jpg").write_bytes(b"sorted between the two")
    with pytest.raises(UserError, match=r"bee/1\.png and .*bee/1\.jpg would be one sample; rename one"):
        write_shards(folder_root, "val", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_in_every_form(tmp_path):
    # Numbers in .cls, in JSON (WebDataset's ImageNet has both: .cls counts), and as text in JSON.
    files = {
        "a.jpg": b"A", "a.cls": b"2\n", "a.json": json.dumps({"label": 7}).encode(),
        "sub/b.png": b"B", "sub/b.json": json.dumps({"label": 0, "filename": "b"}).encode(),
        "c.JPEG": b"C", "c.json": b'{"label": "1"}', "readme.txt": b"no picture", "._c.jpg": b"droppings",
    }  # fmt: skip
    write_tar(tmp_path / "train" / "x.tar", files)
    reader = ShardReader(tmp_path, "train")
    assert reader.classes == ["0", "1", "2"] and reader.labels.tolist() == [2, 0, 1]
    assert [reader.content(i) for i in range(3)] == [b"A", b"B", b"C"]
    (tmp_path / "classes.txt").write_text("zebra\nape\nbee\nnever seen\n", encoding="utf-8")
    reader = ShardReader(tmp_path, "train")
    assert reader.classes == ["zebra", "ape", "bee", "never seen"] and reader.labels.tolist() == [2, 0, 1]


def test_names_and_folders_are_classes_in_sorted_order(tmp_path):
    write_tar(tmp_path / "train-1.tar", {"n2/a.jpg": b"A", "n10/b.jpg": b"B"})
    write_tar(tmp_path / "train-0.tar", {"c.jpg": b"C", "c.cls": b"n3"})
    reader = ShardReader(tmp_path, "train-*.tar")
    assert reader.classes == ["n10", "n2", "n3"]  # as sorted folders
    assert reader.labels.tolist() == [2, 1, 0]
    (tmp_path / "classes.txt").write_text("n2\nn3\n")
    with pytest.raises(
        UserError, match=r"train-1\.tar:n10/b\.jpg has the label 'n10', which is none of the 2"
    ):
        ShardReader(tmp_path, "train-*.tar")


def test_patterns_of_shards(tmp_path):
    for number in (8, 9, 10):
        write_tar(tmp_path / f"train-{number:03}.tar", {f"ape/{number}.jpg": b"A"})
    names = ["train-008.tar", "train-009.tar", "train-010.tar"]
    for pattern in ("train-*.tar", "train-{008..010}.tar", f"{tmp_path}/train-*.tar"):
        assert [path.name for path in shard_files(tmp_path, pattern)] == names
    with pytest.raises(UserError, match=r"no shard .*train-011\.tar; expected a folder"):
        shard_files(tmp_path, "train-{008..012}.tar")
    for pattern in ("val-*.tar", "val"):
        with pytest.raises(
            UserError, match=r"no shard .*val.*; expected a folder of \.tar files, or a pattern"
        ):
            shard_files(tmp_path, pattern)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jpg": b"A"}, r"x\.tar:a\.jpg has no label; expected a\.cls or a a\.json"),
        ({"a.cls": b"1"}, r"x\.tar: a has a label, but no picture"),
        ({"a.jpg": b"A", "a.cls": b" "}, r"x\.tar:a\.cls is empty; expected a class"),
        ({"a.jpg": b"A", "a.json": b"{"}, r"x\.tar:a\.json: is damaged or of another kind \("),
        ({"a.jpg": b"A", "a.json": b"[" * 10**5}, r"x\.tar:a\.json: is nested too deeply"),
        ({"a.jpg": b"A", "a.cls": b"\xff"}, r"x\.tar:a\.cls: is no text in utf-8"),
        ({"a.jpg": b"A", "a.cls": b"-1"}, r"x\.tar:a\.jpg has the label -1; expected 0 to 0, less than"),
        (
            {"a.jpg": b"A", "a.cls": b"1", "b.jpg": b"B", "b.cls": b"9" * 23},
            r"x\.tar:b\.jpg has the label 9{23}; expected 0 to 1, .*, or list the classes in classes\.txt",
        ),
        ({"a.jpg": b"A", "a.png": b"A", "a.cls": b"0"}, r"x\.tar holds two pictures called a; rename one"),
        ({"a.jpg": b"A", "a.cls": b"0", "n/b.jpg": b"B"}, "mix 1 numbers with 1 names as labels"),
        ({"readme.txt": b""}, r"train hold no pictures \(\.bmp, "),
    ],
)
def test_shards_that_are_not_whole_are_refused(tmp_path, files, message):
    write_tar(tmp_path / "train" / "x.tar", files)
    with pytest.raises(UserError, match=message):
        ShardReader(tmp_path, "train")


def test_a_number_far_beyond_the_listed_classes_is_refused(tmp_path):
    write_tar(tmp_path / "train" / "x.tar", {"a.jpg": b"A", "a.cls": b"9" * 23})
    (tmp_path / "classes.txt").write_text("ape\nbee\n")
    with pytest.raises(UserError, match="a.jpg has the label 9{23}, which is none of the 2 classes"):
        ShardReader(tmp_path, "train")


@pytest.mark.parametrize("value", ["3.0", "[1]", "true", "null"])
def test_a_label_that_is_no_class_does_not_give_way_to_the_folder(tmp_path, value):
    path = tmp_path / "train" / "x.tar"
    write_tar(path, {"n/a.jpg": b"A", "n/a.json": b'{"caption": "no label"}'})
    assert ShardReader(tmp_path, "train").classes == ["n"]
    write_tar(path, {"n/a.jpg": b"A", "n/a.json": f'{{"label": {value}}}'.encode()})
    with pytest.raises(UserError) as caught:
        ShardReader(tmp_path, "train")
    assert f"x.tar:n/a.json has the label {value}; expected a class, its number" in str(caught.value)


def test_damaged_shards_are_named(shard_root):
    for split in ("train", "val"):
        (shard_root / split / "shard_list.json").unlink()  # which would tell by their sizes
    path = shard_root / "train" / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(
        UserError, match=r"train-000001\.tar is damaged .*\(cut off at byte 9000\); get it anew"
    ):
        ShardReader(shard_root, "train")
    reader = ShardReader(shard_root, "val")
    path = shard_root / "val" / "val-000001.tar"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"val-000001\.tar:cow/1\.png: got 488 bytes of \d+; the shard was"):
        reader.content(5)


def test_names_end_at_the_first_dot(tmp_path):
    # As WebDataset: 0.seg.png and 0.meta.json are of the sample 0, whatever its folder is called.
    files = {
        "part1/0.jpg": b"A", "part1/0.cls": b"ape", "part1/0.seg.png": b"S",
        "part1/0.meta.json": b'{"label": 3}',
        "./part1/1.jpg": b"B", "part1/1.seg.png": b"T", "part1/1.json": b'{"label": "bee"}',
    }  # fmt: skip
    write_tar(tmp_path / "train" / "x.tar", files)
    reader = ShardReader(tmp_path, "train")
    assert reader.classes == ["ape", "bee"] and reader.labels.tolist() == [0, 1]
    assert [reader.content(i) for i in range(2)] == [b"A", b"B"]


def test_dots_in_names_of_pictures_that_have_their_own_labels(tmp_path):
    files = {
        "a/v.1.jpg": b"A",
        "a/v.1.cls": b"0",
        "a/v.2.jpg": b"B",
        "a/v.2.cls": b"1",
        "a/v.jpg": b"C",
        "a/v.cls": b"0",
    }
    write_tar(tmp_path / "train" / "x.tar", files)  # as write_shards packs them
    assert ShardReader(tmp_path, "train").labels.tolist() == [0, 1, 0]
    write_tar(tmp_path / "val" / "x.tar", {"ape/v.1.jpg": b"A", "bee/v.1.jpg": b"B"})
    assert ShardReader(tmp_path, "val").labels.tolist() == [0, 1]


@pytest.mark.parametrize("folder", ["", "./", "/", "../", "a/../", ".//"])
def test_a_folder_without_a_name_is_no_class(tmp_path, folder):
    write_tar(tmp_path / "train" / "x.tar", {f"{folder}0.jpg": b"A", f"{folder}1.jpg": b"B"})
    with pytest.raises(UserError, match=r"0\.jpg has no label; expected .*0\.cls"):
        ShardReader(tmp_path, "train")
    write_tar(tmp_path / "val" / "x.tar", {f"{folder}ape/./0.jpg": b"A", f"{folder}bee/1.jpg": b"B"})
    assert ShardReader(tmp_path, "val").classes == ["ape", "bee"]


def test_two_pictures_of_a_sample_without_label(tmp_path):
    write_tar(tmp_path / "train" / "x.tar", {"part1/0.jpg": b"A", "part1/0.seg.png": b"S"})
    with pytest.raises(
        UserError, match=r"part1/0\.jpg and part1/0\.seg\.png, which are one sample without label"
    ):
        ShardReader(tmp_path, "train")


def test_a_label_of_many_bytes_is_refused(tmp_path):
    write_tar(tmp_path / "train" / "x.tar", {"0.jpg": b"A", "0.json": bytes((16 << 20) + 1)})
    with pytest.raises(UserError, match=r"0\.json has 16,777,217 bytes, expected a label"):
        ShardReader(tmp_path, "train")


@pytest.mark.parametrize("split", ["../other", "a/b", ".", "..", "/tmp", ""])
def test_shards_stay_below_the_folder(folder_root, tmp_path, split):
    (tmp_path / "root" / "other" / "ape").mkdir(parents=True)
    with pytest.raises(UserError):
        write_shards(folder_root / "train" if split == ".." else folder_root, split, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_class_takes_one_line_of_the_list(tmp_path):
    (tmp_path / "root" / "train" / "a\nb").mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "root" / "train" / "a\nb" / "x.png")
    with pytest.raises(UserError, match=r"'a\\nb' a line break; rename it"):
        write_shards(tmp_path / "root", "train", tmp_path / "out")
