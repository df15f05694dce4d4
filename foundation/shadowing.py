"""Files of the user's that have a package's name, and that Python would import in its place."""

import os
from importlib.util import find_spec

# Which package may import which; tests/guards/test_import_arrows.py holds every source file to it.
SHARED = {"foundation", "backbones", "training", "pictures"}
MAY_IMPORT = {
    "foundation": set[str](),
    "backbones": {"foundation"},
    "training": {"foundation"},
    "pictures": {"foundation"},
    "classification": SHARED,
    "detection": SHARED,
    "segmentation": SHARED,
    "analysis": SHARED,
    "doctor": SHARED | {"classification", "detection", "segmentation"},
    "reproduction": SHARED | {"classification", "detection", "segmentation", "analysis", "doctor"},
    "reporting": SHARED
    | {"classification", "detection", "segmentation", "analysis", "doctor", "reproduction"},
}


def require_neighbours(package: str) -> None:
    """Called by a package of ours when it is imported, before it imports others.

    Raises:
        ImportError: a foreign file or folder would be imported in place of a package that it may need.
    """
    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    for name in sorted(MAY_IMPORT[package]):
        spec = find_spec(name)
        ours = os.path.join(home, name, "__init__.py")
        if spec is not None and spec.origin is not None and os.path.realpath(spec.origin) != ours:
            raise ImportError(
                f"{spec.origin} hides the package {name!r} of residual-backbones, which {package!r} needs; "
                "rename it or start Python in another folder"
            )
