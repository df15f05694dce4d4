"""What is drawn when, what it may cost, and that no training ends for a picture."""

import logging
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from pictures.run_pictures import drawn_runs
from pictures.run_pictures.drawn_runs import RunPictures, handful, save_picture

BLACK = Image.new("RGB", (8, 6))


class Clock:
    """Stands still but for what is added to it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(drawn_runs, "time", clock)
    return clock


def report(out: Path) -> None:
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "loss": 2.0, "lr": 0.1}\n')


def test_the_first_batches_are_drawn_as_they_pass(tmp_path: Path):
    passed = RunPictures(tmp_path, lambda folder: None).of_start(
        count(), lambda batch: BLACK, lambda out: save_picture(BLACK, out / "labels.png")
    )
    assert [next(passed) for _ in range(5)] == [0, 1, 2, 3, 4]
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert names == ["batches/batch_1.jpg", "batches/batch_2.jpg", "batches/batch_3.jpg", "labels.png"]


def test_no_more_batches_are_asked_for_than_are_taken(tmp_path: Path):
    def only_one() -> object:
        yield "first"
        raise AssertionError("a second batch was asked for")

    passed = RunPictures(tmp_path, lambda folder: None).of_start(
        only_one(), lambda b: BLACK, lambda out: None
    )
    assert next(passed) == "first"


def test_a_picture_that_fails_is_told_and_the_batches_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    def fail(of: object) -> Image.Image:
        raise OSError(28, "No space left on device")

    report(tmp_path)
    pictures = RunPictures(tmp_path, fail)
    with caplog.at_level(logging.WARNING):
        assert list(pictures.of_start("abcd", fail, fail)) == ["a", "b", "c", "d"]
        pictures.draw(last=False)
    assert (tmp_path / "curves.png").is_file()
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 5  # the labels, three batches, the validation pictures
    for text, what in zip(texts, ["labels.png", "batch 1", "batch 2", "batch 3", "validation"], strict=True):
        assert text.startswith(f"{tmp_path}: no ") and what in text
        assert "OSError: [Errno 28] No space left" in text and "run.pictures=false" in text


def test_an_interruption_is_no_failing_picture(tmp_path: Path):
    def stop(folder: Path) -> None:
        raise KeyboardInterrupt

    report(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        RunPictures(tmp_path, stop).draw(last=True)


def test_nothing_new_is_not_drawn_again(tmp_path: Path):
    drawn: list[Path] = []
    pictures = RunPictures(tmp_path, drawn.append)
    report(tmp_path)
    pictures.draw(last=False)
    pictures.draw(last=True)
    assert drawn == [tmp_path / "validation"]


def test_pictures_after_evaluations_keep_to_their_share_of_the_time(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
):
    # An evaluation every 90 s, and each drawing takes 2 s.
    times: list[float] = []

    def draw(folder: Path) -> None:
        times.append(clock.now)
        clock.now += 2

    pictures = RunPictures(tmp_path, draw)
    for _ in range(10):
        clock.now += 90
        report(tmp_path)
        pictures.draw(last=False)
    # After the first, which is always drawn, 4 s are allowed at 400 s, 6 s at 600 s, 8 s at 800 s.
    assert times == [90, 452, 634, 816]
    report(tmp_path)
    with caplog.at_level(logging.INFO):
        pictures.draw(last=True)  # whatever it costs
    assert len(times) == 5
    assert caplog.messages == ["pictures of the run took 10.0 s, 1.1 % of its time"]  # of 910


def test_the_same_pictures_are_shown_whatever_else_is_in_the_set():
    names = [f"picture {number}" for number in range(50)]
    chosen = handful(names, 6)
    assert len(set(chosen)) == 6
    fewer = [name for index, name in enumerate(names) if index in chosen or index % 2]
    assert [fewer[index] for index in handful(fewer, 6)] == [names[index] for index in chosen]
    assert sorted(handful(names[:2], 6)) == [0, 1]
    assert handful([], 6) == []


def test_a_picture_is_written_whole_into_a_folder_of_its_own(tmp_path: Path):
    save_picture(BLACK.convert("RGBA"), tmp_path / "a" / "b.jpg")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.jpg"]
    assert Image.open(tmp_path / "a" / "b.jpg").size == (8, 6)
