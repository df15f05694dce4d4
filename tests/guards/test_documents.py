"""What README.md, CONTRIBUTING.md and docs/ point at is there."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = sorted(file.parent.name for file in ROOT.glob("*/__init__.py"))
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pages
def test_links_lead_somewhere(page: Path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pages
def test_files_named_exist(page: Path):
    pattern = (
        r"(?<![\w/.-])((?:tools|configs|tests|docs|" + "|".join(PACKAGES) + r")/[\w/.-]+\.(?:py|yaml|md))"
    )
    assert [name for name in re.findall(pattern, page.read_text()) if not (ROOT / name).is_file()] == []


@pages
def test_modules_named_exist(page: Path):
    """Of `detection.metrics.voc_ap.evaluate` the longest part that can be imported must hold the rest."""
    pattern = r"(?<![\w./])(?:" + "|".join(PACKAGES) + r")(?:\.[a-z_]\w*)+"
    names = {name for name in re.findall(pattern, page.read_text()) if not name.endswith(".md")}
    assert sorted(name for name in names if not is_there(name.split("."))) == []


def is_there(parts: list[str]) -> bool:
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            if length == len(parts):
                return True
            module = importlib.import_module(".".join(parts[:length]))
            return hasattr(module, parts[length])
    return False


def test_the_results_are_fresh():
    """Write them anew with python tools/results.py > docs/results.md."""
    command = [sys.executable, str(ROOT / "tools" / "results.py")]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert page == (ROOT / "docs" / "results.md").read_text()


def test_every_page_is_reachable_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in readme] == []
