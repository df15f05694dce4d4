"""Localization from the command line: both networks, a classifier's guesses, ensembles, the server's file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from classification.score.saved_scores import Scores, save_scores
from detection.data.dataset_splits import DataConfig, open_dataset
from detection.imagenet.ilsvrc_dataset import IlsvrcDataset
from detection.localization.box_lists import load_lists

Networks = tuple[Path, Path]  # weights of the RPN and of R-CNN


@pytest.fixture(scope="module")
def networks(
    start: Callable[..., Any], tiny_localizer: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Networks:
    """Both networks after two steps."""
    folder = tmp_path_factory.mktemp("localization")
    steps = ["schedule.total_steps=2", "run.workers=0"]
    assert start("train_loc", "--out", folder / "rpn", *tiny_localizer, *steps).wait() == 0
    rpn = folder / "rpn" / "best.safetensors"
    rcnn = [*tiny_localizer, *steps, "step=rcnn", f"regions.proposals={rpn}"]
    assert start("train_loc", "--out", folder / "rcnn", *rcnn).wait() == 0
    return rpn, folder / "rcnn" / "best.safetensors"


@pytest.fixture(scope="module")
def validation(data_folder: Path) -> IlsvrcDataset:
    dataset = open_dataset(DataConfig("shapes_loc", str(data_folder / "shapes_ilsvrc")), "val")
    assert isinstance(dataset, IlsvrcDataset)
    return dataset


@pytest.fixture
def guesses(validation: IlsvrcDataset, tmp_path: Path) -> Path:
    """A classifier's scores: the true class of every picture first, but of each third picture never."""
    scores = torch.zeros(len(validation), len(validation.classes))
    for row, label in enumerate(validation.image_labels):
        scores[row, label - 1] = -9.0 if row % 3 == 0 else 9.0
    ids = [f"val/{validation.image_path(row).name}" for row in range(len(validation))]
    labels = torch.tensor(validation.image_labels) - 1
    file = tmp_path / "guesses.npz"
    save_scores(file, Scores(ids, labels, validation.classes, scores.log_softmax(1), {"weights": "made up"}))
    return file


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def test_both_networks_are_trained_and_scored(networks: Networks, tool: Callable, tmp_path: Path):
    rpn, rcnn = networks
    for weights in networks:
        trained = result(weights.parent)
        assert trained["scores"].keys() == {"oracle_error", "whole_picture_error"}
        assert trained["pictures"] == 198  # two of val's 200 are on the blacklist
    tool("eval_loc", "--weights", rpn, "--out", tmp_path / "rpn", "run.workers=0")
    assert result(tmp_path / "rpn")["scores"] == result(rpn.parent)["scores"]
    # R-CNN finds its own RPN, and looks at the same proposals as in its training.
    tool("eval_loc", "--weights", rcnn, "--out", tmp_path / "rcnn", "run.workers=0")
    assert result(tmp_path / "rcnn")["scores"] == result(rcnn.parent)["scores"]
    assert result(tmp_path / "rcnn")["evaluated"]["proposals"]["weights"] == str(rpn)


def test_guesses_boxes_and_ensembles(
    networks: Networks, guesses: Path, tool: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
):
    rpn, rcnn = networks
    boxes, better = tmp_path / "rpn.npz", tmp_path / "rcnn.npz"
    options = ["--guesses", guesses, "run.workers=0"]
    tool(
        "eval_loc",
        "--weights",
        rpn,
        *options,
        "--save-boxes",
        boxes,
        "--bootstrap",
        50,
        "--out",
        tmp_path / "a",
    )
    found = result(tmp_path / "a")
    # A third is never guessed; the others are guessed at once, so that five guesses are worth what one is.
    assert found["scores"]["classification_top5_error"] == pytest.approx(1 / 3, abs=0.01)
    assert found["scores"]["top1_error"] == found["scores"]["top5_error"] >= found["scores"]["oracle_error"]
    low, high = found["intervals"]["top5_error"]
    assert low <= found["scores"]["top5_error"] <= high
    assert "classification, five guesses" in capsys.readouterr().out

    tool(
        "eval_loc",
        "--weights",
        rcnn,
        *options,
        "--boxes",
        boxes,
        "--save-boxes",
        better,
        "--out",
        tmp_path / "b",
    )
    first, again = load_lists(boxes), load_lists(better)
    assert torch.equal(first.labels, again.labels) and not torch.equal(first.boxes[:9], again.boxes[:9])
    # Files alone are scored as the networks were.
    for file, folder in ((boxes, "a"), (better, "b")):
        tool("eval_loc", "--boxes", file, "--guesses", guesses, "--out", tmp_path / "alone")
        assert result(tmp_path / "alone")["scores"] == result(tmp_path / folder)["scores"]
    both = ["--boxes", boxes, "--boxes", better]
    tool("eval_loc", *both, "--guesses", guesses, "--guesses", guesses, "--out", tmp_path / "both")
    assert len(result(tmp_path / "both")["evaluated"]["members"]) == 2


def test_the_servers_file(
    networks: Networks, guesses: Path, validation: IlsvrcDataset, tool: Callable, tmp_path: Path
):
    boxes, file = tmp_path / "boxes.npz", tmp_path / "loc.txt"
    options = ["--guesses", guesses, "--save-boxes", boxes, "--submission", file, "run.workers=0"]
    tool("eval_loc", "--weights", networks[0], *options)
    lines, lists = file.read_text().splitlines(), load_lists(boxes)
    assert len(lines) == 200 and all(len(line.split()) == 25 for line in lines)
    words = lines[1].split()  # the second picture, whose class is guessed first
    label = validation.image_labels[1]
    (x1, y1, x2, y2), *_ = lists.of(1, label)[0].tolist()
    assert int(words[0]) == validation.category_ids[label - 1]
    assert [float(word) for word in words[1:5]] == pytest.approx([x1, y1, x2 - 1, y2 - 1], abs=1e-3)
    tool("eval_loc", "--boxes", boxes, "--guesses", guesses, "--submission", tmp_path / "loc.csv")
    header, first, *others = (tmp_path / "loc.csv").read_text().splitlines()
    assert header == "ImageId,PredictionString" and len(others) == 199
    assert first.startswith("ILSVRC2012_val_00000001,n9")


def test_a_split_without_truth_is_searched(networks: Networks, tool: Callable, tmp_path: Path):
    ids = [f"test/ILSVRC2012_test_{number:08d}.JPEG" for number in range(1, 21)]
    classes = [f"n9{digit}000000" for digit in range(10)]
    scores = Scores(ids, torch.full((20,), -1), classes, torch.zeros(20, 10).log_softmax(1), {})
    save_scores(tmp_path / "test.npz", scores)
    options = ["--guesses", tmp_path / "test.npz", "--submission", tmp_path / "test.txt"]
    tool("eval_loc", "--weights", networks[0], *options, "data.val=test", "run.workers=0")
    assert len((tmp_path / "test.txt").read_text().splitlines()) == 20


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "nothing to score: give --weights FILE, or --boxes NPZ of --save-boxes"),
        (["--weights", "gone.safetensors"], "gone.safetensors"),
        (["--weights", "{rpn}", "--submission", "a.txt"], "--submission wants five guessed classes"),
        (["--weights", "{rpn}", "--save-boxes", "a.json"], "let its name end in .npz"),
        (
            ["--weights", "{rpn}", "--boxes", "a.npz"],
            "--boxes a.npz has no effect with the weights",
        ),
        (["--weights", "{rpn}", "data.val=trian"], "trian"),
        (["--weights", "{rpn}", "rpn.channels=9"], "leave step, feature, backbone, rpn"),
        (["--boxes", "gone.npz"], "give a file that tools/eval_loc.py --save-boxes wrote"),
    ],
)
def test_what_is_refused(networks: Networks, refused: Callable, arguments: list[str], text: str):
    given = [argument.format(rpn=networks[0]) for argument in arguments]
    assert text in refused("eval_loc", *given, *(["run.workers=0"] if given else []))


def test_rcnn_wants_an_rpn(networks: Networks, refused: Callable, tiny_localizer: list[str], tmp_path: Path):
    options = [*tiny_localizer, "step=rcnn", f"regions.proposals={networks[1]}", "run.workers=0"]
    assert "is no RPN of these classes" in refused("train_loc", "--out", tmp_path / "run", *options)


def test_proposals_are_kept_as_long_as_the_rpn_is_the_same(
    networks: Networks, tiny_localizer: list[str], tool: Callable, tmp_path: Path
):
    rpn, other, out = tmp_path / "rpn.safetensors", tmp_path / "other", tmp_path / "run"
    rpn.write_bytes(networks[0].read_bytes())
    few = ["schedule.total_steps=1", "run.workers=0"]
    options = ["--out", out, *tiny_localizer, *few, "step=rcnn", f"regions.proposals={rpn}"]
    tool("train_loc", *options)
    first = load_lists(out / "proposals_val.npz")
    tool("train_loc", "--out", other, *tiny_localizer, *few, "run.seed=7")
    rpn.write_bytes((other / "last.safetensors").read_bytes())
    tool("train_loc", "--overwrite", *options)
    again = load_lists(out / "proposals_val.npz")
    assert first.about["sha256"] != again.about["sha256"] and not torch.equal(first.scores, again.scores)


def test_tables_13_and_14_in_small(
    guesses: Path, tool: Callable, tiny_localizer: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
):
    file = tmp_path / "small.yaml"
    file.write_text("data: {kind: shapes_loc}\n")
    out = tmp_path / "out"
    steps = ["schedule.total_steps=1", "run.workers=0", "run.eval_every=1"]
    options = ["--config", file, "--seeds", 2, "--guesses", guesses, "--out", out, *tiny_localizer, *steps]
    tool("reproduce", "--table", "13", *options)
    printed = capsys.readouterr().out
    assert printed.count("not comparable") == 5 and "| not run |" not in printed
    rows = {row["key"]: row for row in json.loads((out / "table13.json").read_text())["rows"]}
    assert [len(rows[key]["errors"]) for key in ("rpn-1crop", "rpn-dense", "rcnn-top5", "ensemble")] == [
        2,
        2,
        2,
        1,
    ]
    # Table 14 is Table 13's last row: nothing is trained or searched again.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    tool("reproduce", "--table", "14", *options)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert before == after
    (ours,) = [r for r in json.loads((out / "table14.json").read_text())["rows"] if r["ours"]]
    assert ours["errors"] == rows["ensemble"]["errors"]
