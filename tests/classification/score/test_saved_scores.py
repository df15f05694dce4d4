import json
import math
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from classification.score.saved_scores import Scores, average, load_scores, portable_id, save_scores
from foundation.errors import UserError


def make(seed: int, **changes: object) -> Scores:
    generator = torch.Generator().manual_seed(seed)
    scores = Scores(
        ["ape/0.png", "ape/1.png", "bée/0.png"],
        torch.tensor([0, 0, 1]),
        ["ape", "bée"],
        torch.randn(3, 2, generator=generator).log_softmax(1),
        {"weights": f"{seed}.safetensors", "protocol": "dense", "scales": [32, 48]},
    )
    return replace(scores, **changes)


def write(folder: Path, *scores: Scores) -> list[Path]:
    paths = [folder / f"{number}.npz" for number in range(len(scores))]
    for path, part in zip(paths, scores, strict=True):
        save_scores(path, part)
    return paths


def test_a_file_gives_what_was_saved(tmp_path):
    (path,) = write(tmp_path / "new", make(0))
    read, saved = load_scores(path), make(0)
    assert (read.ids, read.classes) == (saved.ids, saved.classes)
    assert torch.equal(read.labels, saved.labels)
    assert torch.equal(read.log_probabilities, saved.log_probabilities)
    assert read.about == saved.about | {"version": 1}


def test_an_ensemble_is_the_mean_of_the_probabilities(tmp_path):
    parts = [make(seed) for seed in range(3)]
    mean = average(write(tmp_path, *parts))
    expected = torch.stack([part.log_probabilities.exp() for part in parts]).mean(0)
    torch.testing.assert_close(mean.log_probabilities.exp(), expected, rtol=0, atol=1e-6)
    assert (mean.ids, mean.labels.tolist(), mean.classes) == (parts[0].ids, [0, 0, 1], parts[0].classes)
    assert mean.about["protocol"] == "ensemble"
    assert [member["weights"] for member in mean.about["members"]] == [f"{n}.safetensors" for n in range(3)]


def test_one_file_gives_its_own_scores_to_the_last_bit(tmp_path):
    (path,) = write(tmp_path, make(5))
    assert torch.equal(average([path]).log_probabilities, make(5).log_probabilities)


def test_certain_networks_are_averaged_too(tmp_path):
    # e^-200 is no float32: the mean of 1 and 0 must still be one half, and that of twice 0 stay finite.
    sure, unsure = torch.tensor([[0.0, -200]] * 3), torch.tensor([[-200.0, 0]] * 3)
    mean = average(write(tmp_path, make(0, log_probabilities=sure), make(0, log_probabilities=unsure)))
    torch.testing.assert_close(mean.log_probabilities, torch.full((3, 2), -math.log(2)))
    same = average(write(tmp_path, *[make(0, log_probabilities=sure)] * 2))
    assert torch.equal(same.log_probabilities, sure)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["ape", "cow"]}, "has 2 classes, .* has 2, the first that differ are 'bée' and 'cow'"),
        (
            {"ids": ["ape/0.png", "ape/2.png", "bée/0.png"]},
            "the first that differ are 'ape/1.png' and 'ape/2",
        ),
        ({"labels": torch.tensor([0, 1, 1])}, "has 3 labels, .* has 3, the first that differ are 0 and 1"),
        (
            {"ids": ["ape/0.png"], "labels": torch.tensor([0]), "log_probabilities": torch.zeros(1, 2)},
            r"0.npz has 3 pictures, .*1.npz has 1; an ensemble needs the same .* score all weights",
        ),
    ],
)
def test_files_of_other_pictures_or_classes_are_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        average(write(tmp_path, make(0), make(1, **changes)))


def test_what_is_no_file_of_scores_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"absent.npz: no such file; give a file that --save-logits wrote"):
        load_scores(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    np.savez(tmp_path / "code.npz", **dict.fromkeys(["log_probabilities", "labels"], np.array([print])))
    (whole,) = write(tmp_path, make(0))
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:-400])
    for name in ("text", "other", "code", "cut"):
        with pytest.raises(UserError, match=f"{name}.npz: is damaged or of another kind .*; give a file"):
            load_scores(tmp_path / f"{name}.npz")


def rewrite(path: Path, **arrays: np.ndarray) -> None:
    with np.load(path) as archive:
        kept = dict(archive)
    np.savez(path, **(kept | arrays))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"about": np.array(json.dumps({"version": 2}))},
            "is of version 2, expected 1; score the weights again",
        ),
        ({"about": np.array("{")}, "is damaged or of another kind"),
        ({"about": np.array("[3]")}, "is damaged or of another kind"),
        ({"ids": np.array(["a", "b"])}, r"log_probabilities is \(3, 2\), expected \(2, 2\)"),
        ({"labels": np.array([0, 2, 1])}, "labels are 0 to 2, expected -1 to 1; give a file"),
        ({"labels": np.zeros(3)}, r"labels is float64 \(3,\), expected kind 'i' of 1 dimension"),
        ({"classes": np.array("ab")}, r"classes is <U2 \(\), expected kind 'U' of 1 dimension;"),
    ],
)
def test_files_with_other_content_are_refused(tmp_path, arrays, message):
    (path,) = write(tmp_path, make(0))
    rewrite(path, **arrays)
    with pytest.raises(UserError, match=message):
        load_scores(path)


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(UserError, match="give it a name that ends in .npz"):
        save_scores(tmp_path / "scores.json", make(0))
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_a_plain_archive(tmp_path):
    (path,) = write(tmp_path, make(0))
    assert zipfile.is_zipfile(path)
    with np.load(path, allow_pickle=False) as archive:
        assert archive["ids"].tolist() == make(0).ids


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "/data/imagenet/val/n01440764/ILSVRC2012_val_00000293.JPEG",
            "n01440764/ILSVRC2012_val_00000293.JPEG",
        ),
        ("test/12", "test/12"),
        ("/data/shards/val/val-000003.tar:n01440764/x.jpg", "n01440764/x.jpg"),
        ("/data/shards/val/val-000003.tar:00017.jpg", "00017.jpg"),
        ("12", "12"),
    ],
)
def test_ids_do_not_depend_on_where_the_data_lie(name, expected):
    assert portable_id(name) == expected


def test_a_deflated_archive_and_a_header_of_terabytes_are_refused(tmp_path, bounded):
    np.savez_compressed(tmp_path / "a.npz", labels=np.zeros(1 << 20, dtype=np.int64))
    with pytest.raises(UserError, match=r"a.npz: .*entries unpack to 8,388,\d+ bytes from"):
        load_scores(tmp_path / "a.npz")
    (path,) = write(tmp_path, make(0))
    content = path.read_bytes()
    assert content.count(b"(3, 2), }            ") == 1
    path.write_bytes(content.replace(b"(3, 2), }            ", b"(1099511627776, 2), }"))
    with bounded(), pytest.raises(UserError, match="0.npz: .*; give a file that --save-logits wrote"):
        load_scores(path)
