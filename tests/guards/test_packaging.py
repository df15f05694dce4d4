"""What an installed copy contains, and that importing it is light."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from setuptools import Distribution, find_packages

from foundation.shadowing import MAY_IMPORT

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = list(MAY_IMPORT)


def test_tools_configs_and_tests_are_not_packaged():
    include = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"][
        "include"
    ]
    found = find_packages(str(ROOT), include=include)
    assert {name.split(".")[0] for name in found} == set(PACKAGES)


def test_every_folder_with_sources_is_a_package():
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            assert (file.parent / "__init__.py").is_file(), f"{file.parent} has no __init__.py"


def test_every_package_brings_its_annotations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(ROOT)
    distribution = Distribution({"script_name": "setup.py"})
    distribution.parse_config_files(["pyproject.toml"])
    build = distribution.get_command_obj("build_py")
    build.build_lib, build.include_package_data = str(tmp_path), False
    build.ensure_finalized()
    files = {Path(file).relative_to(tmp_path).as_posix() for file in build.get_outputs()}
    assert {f"{package}/py.typed" for package in PACKAGES} <= files
    assert {"training/loop.py", "backbones/weights/published_weights.tsv"} <= files
    assert not any(file.startswith("tests") for file in files)


def test_hosts_are_imported_only_by_their_adapters():
    code = "import sys, backbones, backbones.adapters, detection.build; print(*sys.modules)"
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"detectron2", "timm", "huggingface_hub"} & set(finished.stdout.split())


def test_backbones_load_little_beside_torch():
    # What takes long, such as torchvision and torch._dynamo, is imported where it is needed.
    code = "import sys, torch; known = set(sys.modules); import backbones; print(*set(sys.modules) - known)"
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    packages = {name.split(".")[0] for name in finished.stdout.split()} - sys.stdlib_module_names
    light = {"backbones", "foundation", "filelock", "numpy", "safetensors", "yaml"}
    assert {package for package in packages - light if not package.startswith("_")} == set()


@pytest.mark.parametrize(
    "package",
    [*(package for package in PACKAGES if package != "backbones"), "foundation.errors", "training.command"],
)
def test_import_does_not_load_torch(package: str):
    # --help must answer at once, and torch takes more than a second to import.
    code = f"import sys, {package}; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
