"""Packages imported where the user's own files have their names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.shadowing import MAY_IMPORT, require_neighbours

ROOT = Path(__file__).resolve().parents[2]


def imported_in(folder: Path, statement: str) -> subprocess.CompletedProcess:
    """A statement run in a folder, which comes before our packages on Python's path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": ""}
    return subprocess.run(
        [sys.executable, "-c", statement], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("package", [name for name, needs in MAY_IMPORT.items() if "training" in needs])
@pytest.mark.parametrize("hidden", ["training.py", "training/__init__.py"])
def test_a_file_that_hides_a_package_is_named(tmp_path: Path, package: str, hidden: str):
    (tmp_path / hidden).parent.mkdir(exist_ok=True)
    (tmp_path / hidden).write_text("print('mine')\n")
    finished = imported_in(tmp_path, f"import {package}")
    assert finished.returncode == 1 and finished.stdout == ""
    assert finished.stderr.splitlines()[-1] == (
        f"ImportError: {tmp_path / hidden} hides the package 'training' of residual-backbones, which "
        f"{package!r} needs; rename it or start Python in another folder"
    )


def test_python_itself_names_a_file_that_hides_the_foundation(tmp_path: Path):
    (tmp_path / "foundation.py").write_text("")
    for package in MAY_IMPORT.keys() - {"foundation"}:
        last = imported_in(tmp_path, f"import {package}").stderr.splitlines()[-1]
        assert last.startswith("ImportError: cannot import name 'require_neighbours' from 'foundation'")
        assert str(tmp_path / "foundation.py") in last


@pytest.mark.parametrize(
    ("package", "files"),
    [
        ("detection", ["engine.py", "analysis.py", "doctor.py", "reproduction.py", "metrics.py"]),
        ("analysis", ["doctor.py", "detection.py", "classification.py"]),
        ("training", ["pictures.py", "backbones.py", "config.py"]),
    ],
)
def test_files_that_hide_nothing_needed_are_no_obstacle(tmp_path: Path, package: str, files: list[str]):
    for name in files:
        (tmp_path / name).write_text("raise SystemExit('imported')\n")
    finished = imported_in(tmp_path, f"import {package}; print({package}.__file__)")
    assert finished.stdout.strip() == str(ROOT / package / "__init__.py")


def test_a_folder_without_sources_hides_nothing(tmp_path: Path):
    (tmp_path / "training").mkdir()  # pictures to train on, say
    assert imported_in(tmp_path, "import detection, training.command").returncode == 0


@pytest.mark.slow
def test_backbones_need_none_of_the_others(tmp_path: Path):
    for name in MAY_IMPORT.keys() - {"foundation", "backbones"}:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    assert imported_in(tmp_path, "import backbones; backbones.create_model('resnet18')").returncode == 0


def test_our_own_packages_are_found():
    for package in MAY_IMPORT:
        require_neighbours(package)
