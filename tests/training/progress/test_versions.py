"""Releases in one line."""

import importlib.metadata
import platform

import pytest
import torch

from training.progress import versions
from training.progress.versions import describe_versions


def test_releases_are_named():
    torch_version = importlib.metadata.version("torch")
    assert torch.__version__.startswith(torch_version.partition("+")[0])
    assert describe_versions().endswith(f", torch {torch_version}, Python {platform.python_version()}")


def test_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    def missing(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(versions, "version", missing)
    assert describe_versions().startswith("residual-backbones, not installed as a package, torch, not")
