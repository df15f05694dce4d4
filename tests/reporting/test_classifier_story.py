"""A classifier's story: intervals of errors, classes, mistakes; of a training and of an evaluation."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from backbones.weights.downloads import digest
from foundation.errors import UserError
from reporting.classifier_story import error_text, read_answers, tell_evaluation, tell_training
from reporting.page.page_parts import Note, Section, Story, Table

ClassifierRun = Callable[..., Path]
LINES = "id,labels,class_1,probability_1\na/1,a,a,0.9\na/2,a,b,0.8\nb/1,b,a,0.95\nb/2,b|a,a,0.5\nx,,a,0.9\n"


def part(story: Story, title: str) -> Section:
    (found,) = [section for section in story.sections if section.title == title]
    return found


def table(story: Story, title: str) -> list[list[str]]:
    (found,) = [part for part in part(story, title).parts if isinstance(part, Table)]
    return [list(map(str, row)) for row in found.rows]


def notes(story: Story, title: str) -> str:
    return " ".join(p.text for p in part(story, title).parts if isinstance(p, Note))


def test_errors_in_words():
    assert error_text(25.0, 40) == "25.0 (14.2 to 40.2)"
    assert error_text(25.0, None) == "25.0" and error_text(None, 40) == "–"


def test_of_a_training(classifier_run: ClassifierRun):
    run = classifier_run("mine")
    story, material = tell_training(run, "mine", 9)
    assert table(story, "Figures") == [["Top-1 error, %", "25.0 (14.2 to 40.2)"], ["Loss, nats", "0.750"]]
    assert [row[0] for row in table(story, "Classes")] == [
        "<script>alert(1)</script>",
        "ring & star",
        "Straße",
    ]
    assert f"--weights {run / 'last.safetensors'} --out {run / 'evaluation'}" in notes(story, "Figures")
    assert material.answers is None and material.remedy.startswith("python tools/eval_cls.py")


def test_the_evaluation_in_the_folder_counts_if_it_is_of_the_weights(classifier_run: ClassifierRun):
    run = classifier_run("mine")
    (run / "last.safetensors").write_bytes(b"weights")
    (run / "evaluation").mkdir()
    (run / "evaluation" / "predictions.csv").write_text(LINES)
    about = {"sha256": digest(run / "last.safetensors")}
    (run / "evaluation" / "result.json").write_text(json.dumps({"evaluated": about}))
    story, material = tell_training(run, "mine", 9)
    assert table(story, "Surest mistakes") == [["b/1", "b", "a", "95.0"], ["a/2", "a", "b", "80.0"]]
    assert material.answers is not None and material.answers.wrong.tolist() == [False, True, True, False]
    (run / "last.safetensors").write_bytes(b"others")
    story, material = tell_training(run, "mine", 9)
    assert "is of other weights than last.safetensors" in notes(story, "Figures") and material.answers is None


def test_a_run_under_way(classifier_run: ClassifierRun):
    story, _ = tell_training(classifier_run("mine", ended=False), "mine", 9)
    assert "The run has not ended: its figures are of step 40." in notes(story, "Figures")
    assert "No intervals" in notes(story, "Figures")


def test_of_an_evaluation(tmp_path: Path):
    (tmp_path / "predictions.csv").write_text(LINES)
    result = {
        "protocol": "dense",
        "pictures": 4,
        "scores": {"top1_error": 50.0, "loss": None},
        "class_top1_error": {"a": 100 / 3, "b": 50.0},
        "most_confused": [{"label": "b", "taken_for": "a", "pictures": 1}],
        "evaluated": {"weights": "w.safetensors", "sha256": "12ab", "data": "folder val"},
    }
    (tmp_path / "result.json").write_text(json.dumps(result))
    story, _ = tell_evaluation(tmp_path, "name", 9)
    assert table(story, "Figures")[1] == ["Loss, nats", "–"]
    (worst, text, _, pictures), _ = table(story, "Classes")
    assert (worst, pictures) == ("b", "2") and text.startswith("50.0 (")
    assert table(story, "Most frequent confusions") == [["b", "a", "1"]]
    (tmp_path / "predictions.csv").unlink()
    story, material = tell_evaluation(tmp_path, "name", 9)
    assert "there is no predictions.csv in the folder" in notes(story, "Figures") and material.answers is None


@pytest.mark.parametrize(
    "text", ["", "id,labels\na,b\n", LINES.replace("0.9\n", "much\n"), "id,labels,class_1\0"]
)
def test_damaged_answers_are_named(text: str, tmp_path: Path):
    (tmp_path / "predictions.csv").write_text(text)
    with pytest.raises(UserError, match=r"predictions\.csv: .*; score the weights again"):
        read_answers(tmp_path / "predictions.csv")


def test_pictures_in_the_folder_are_shown(classifier_run: ClassifierRun):
    run = classifier_run("mine")
    for name in ("validation/step_40.png", "batches/0.png", "labels.png"):
        (run / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(run / name)
    titles = [section.title for section in tell_training(run, "mine", 9)[0].sections]
    assert titles[-5:-2] == ["Validation pictures", "First training batches", "Labels"]
