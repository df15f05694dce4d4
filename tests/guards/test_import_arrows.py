"""Who may import whom. The rule stands in CONTRIBUTING.md; this test is what enforces it."""

import ast
import sys
from pathlib import Path

import pytest

from foundation.shadowing import MAY_IMPORT

ROOT = Path(__file__).resolve().parents[2]
NEVER_IMPORTED = {"tools", "configs", "tests", "benchmarks"}
# backbones must be usable in any host project, so its needs are kept to these.
BACKBONES_MAY_USE = {"torch", "torchvision", "safetensors"}
# What the adapter to a host, and export, may use besides.
HOSTS = {
    "adapters/detectron2.py": {"detectron2"},
    "adapters/detectron2_training.py": {"detectron2"},
    "adapters/timm.py": {"timm"},
    "explain/grad_cam.py": {"captum"},
    "networks/timm_networks.py": {"timm"},
    "networks/timm_vit.py": {"timm"},
    "weights/downloads.py": {"filelock", "tqdm"},  # torch brings the first; the other only shows a bar
    "weights/hub.py": {"huggingface_hub"},
    "weights/timm_catalogue.py": {"timm"},
    "export.py": {"onnx", "onnxruntime", "onnxscript"},
}


def imported_packages(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def sources(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package} holds no Python file"
    return files


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_arrows_run_one_way(package: str):
    ours = set(MAY_IMPORT) | NEVER_IMPORTED
    wrong = {
        str(file.relative_to(ROOT)): sorted(bad)
        for file in sources(package)
        if (bad := (imported_packages(file) & ours) - MAY_IMPORT[package] - {package})
    }
    assert not wrong


def test_backbones_need_only_torch():
    for file in sources("backbones"):
        host = HOSTS.get(file.relative_to(ROOT / "backbones").as_posix(), set())
        allowed = set(sys.stdlib_module_names) | BACKBONES_MAY_USE | {"backbones", "foundation"} | host
        foreign = imported_packages(file) - allowed
        assert not foreign, f"{file.relative_to(ROOT)} imports {sorted(foreign)}"


def test_every_top_level_package_has_a_rule():
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert packages == set(MAY_IMPORT)
