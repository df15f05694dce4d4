"""Whole reports: of each kind of folder, of several, and of what is no run."""

import json
import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from foundation.errors import UserError
from reporting import run_report
from reporting.page.page_parts import Note, Section, Story
from reporting.run_report import RunKind, name_folders, write_report

VOID = {"meta", "img", "br", "link", "input"}


class Strict(HTMLParser):
    """Fails where tags do not close; keeps what was read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: Path) -> str:
    """The page, after the checks that hold for every one."""
    text = page.read_text()
    tags = Strict(text).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "form", "base"}
    for tag, attributes in tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), tag
            if name in ("src", "href"):
                assert (value or "").startswith("data:image/" if name == "src" else "#"), value
    assert "url(" not in text and "@import" not in text and "http://" not in text and "https://" not in text
    policy = next(a["content"] for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'")
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"] for tag, a in tags if tag == "a"}
    assert targets <= {f"#{name}" for name in ids}
    return text


def test_of_a_classifier(classifier_run: Callable[..., Path]):
    page = write_report([classifier_run("mine")], None, 100)
    assert page.name == "report.html"
    text = read(page)
    # 10 of 40 wrong.
    assert "Top-1 error 25.0 (14.2 to 40.2) %" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "ring &amp; star" in text and "Straße" in text


def test_of_a_detector(detector_run: Callable[..., Path]):
    text = read(write_report([detector_run("mine", 5.0)], None, 100))
    headline = re.search(r"AP (\d+\.\d) \((\d+\.\d) to (\d+\.\d)\) %", text)
    assert headline is not None
    value, low, high = map(float, headline.groups())
    assert low < value < high
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    for title in (
        "Curves",
        "Classes",
        "Precision and recall",
        "Kinds of errors",
        "Worst pictures",
        "Repeat it",
    ):
        assert f">{title}</h3>" in text
    assert text.count("data:image/jpeg") == 1  # the only false alarm; nothing is missed


def test_of_several(detector_run: Callable[..., Path], classifier_run: Callable[..., Path], tmp_path: Path):
    folders = [detector_run("good", 0.0), detector_run("bad", 12.0), classifier_run("other")]
    with pytest.raises(UserError, match="a report of 3 runs lies in none of them: say where with --out"):
        write_report(folders, None, 100)
    text = unescape(read(write_report(folders, tmp_path / "new" / "page.html", 200)))
    assert "bad less good" in text and "Not compared, for there is nothing of the same kind: other." in text
    assert text.index(">Comparison</h2>") < text.index(">good</h2>") < text.index(">bad</h2>")


def test_names_tell_folders_apart(tmp_path: Path):
    folders = [tmp_path / "a" / "run", tmp_path / "b" / "run", tmp_path / "c"]
    assert name_folders(folders) == ["a/run", "b/run", "c"]


def test_what_is_no_run(tmp_path: Path, classifier_run: Callable[..., Path]):
    run = classifier_run("mine")
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    cases = [
        ([tmp_path / "none"], None, 9, "none is nothing, expected a run's folder"),
        ([tmp_path / "file"], None, 9, "file is a file, expected a run's folder"),
        ([tmp_path / "empty"], None, 9, "empty holds no run: expected the folder of one of pretrain.py"),
        ([run, tmp_path / "." / "mine"], tmp_path / "p.html", 9, "is named twice"),
        ([run], tmp_path / "empty", 9, "is a folder, expected a file; name one in it"),
        ([run], None, 0, "--resamples must be 1 or more, got 0"),
    ]
    for folders, out, resamples, message in cases:
        with pytest.raises(UserError, match=re.escape(message)):
            write_report(folders, out, resamples)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("name", ["config.yaml", "result.json"])
def test_damaged_files_are_named(name: str, classifier_run: Callable[..., Path]):
    run = classifier_run("mine")
    (run / name).write_text("[1, 2")
    with pytest.raises(UserError, match=rf"mine/{name}: is damaged"):
        write_report([run], None, 9)


def test_a_result_of_something_else(classifier_run: Callable[..., Path]):
    run = classifier_run("mine")
    (run / "result.json").write_text(json.dumps({"scores": [1]}))
    with pytest.raises(UserError, match="holds no result of this toolkit; remove it, and --resume"):
        write_report([run], None, 9)


def test_another_kind_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "odd.txt").write_text("7")

    def tell(folder: Path, name: str, resamples: int) -> tuple[Story, int]:
        value = int((folder / "odd.txt").read_text())
        return Story(name, "odd", f"Oddness {value}", [Section("All", [Note("<b>")])]), value

    kind = RunKind("odd.py", lambda folder, sections, result: (folder / "odd.txt").is_file(), tell, None)
    monkeypatch.setattr(run_report, "KINDS", (*run_report.KINDS, kind))
    text = read(write_report([folder], None, 9))
    assert "Oddness 7" in text and "&lt;b&gt;" in text
