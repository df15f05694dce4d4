"""Networks that others trained, converted and scored by our command lines, reach their published errors."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def cifar10(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real CIFAR-10 as its official batches."""
    folder = tmp_path_factory.mktemp("cifar10") / "batches"
    command = [sys.executable, real_data / "cifar10" / "unpack.py", folder, "--format", "batches"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.mark.slow  # 140 s of one core's time for all four; two processes share it
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("resnet20-12fca82f", 8.27),
        ("resnet32-d509ac18", 7.37),
        ("resnet44-014dd654", 6.90),
        ("resnet56-4bfd9763", 6.61),
    ],
)
def test_cifar_networks_have_their_authors_errors(
    tool: Callable, start: Callable, cifar10: Path, real_data: Path, tmp_path: Path, name: str, error: float
):
    weights = tmp_path / "converted.safetensors"
    tool("convert_weights", real_data / "cifar_nets" / f"{name}.th", weights)
    data = ["data.kind=cifar10", f"data.root={cifar10}", "run.device=cpu", "run.workers=0"]
    assert start("eval_cls", "--weights", weights, "--out", tmp_path / "out", *data, processes=2).wait() == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    # To the picture: an error of 8.27 % are 827 of the 10,000.
    assert (result["pictures"], result["scores"]["top1_error"]) == (10_000, error)
