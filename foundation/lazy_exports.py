"""Names that a package gives out without importing, until one is asked for, the module they stand in."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__` (PEP 562), so that `import detection` need not import torch.

    Args:
        package: its `__name__`.
        places: name → module that defines it.
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(places[name]), name)

    return find
