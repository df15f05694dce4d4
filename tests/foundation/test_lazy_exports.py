"""Names that are imported when they are asked for."""

import subprocess
import sys

import pytest

from foundation.lazy_exports import lazy_exports


def test_a_name_comes_from_its_module():
    find = lazy_exports("package", {"sqrt": "math"})
    assert find("sqrt")(9) == 3


def test_other_names_are_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'cbrt'"):
        lazy_exports("package", {"sqrt": "math"})("cbrt")


def test_importing_the_detectors_does_not_import_torch():
    program = (
        "import detection, sys; print('torch' in sys.modules); detection.load; print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
