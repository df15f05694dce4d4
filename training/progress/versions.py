"""Which releases are at work, for logs and reports."""

import sys
from importlib.metadata import PackageNotFoundError, version


def describe_versions() -> str:
    """As "residual-backbones 0.1.0, torch 2.9.1, Python 3.12.1"."""
    known = []
    for package in ("residual-backbones", "torch"):
        try:
            known.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            known.append(f"{package}, not installed as a package")
    return ", ".join([*known, f"Python {'.'.join(map(str, sys.version_info[:3]))}"])
