"""Fixtures and marks every test may use."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("repeatable", derandomize=True, deadline=None)  # the same cases in every run
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
    torch.set_num_threads(1)  # the tests are small, and several threads on a busy machine stall each other


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
        if "slow" in item.keywords and os.environ.get("RUN_SLOW") == "0":
            item.add_marker(pytest.mark.skip(reason="RUN_SLOW=0"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real pictures and reference values; the test skips where it is absent."""
    folder = Path(os.environ.get("REAL_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set REAL_DATA)")
    return folder
