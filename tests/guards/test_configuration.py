"""Every key of every configuration has a meaning, and the page and the tools that list them say it."""

import subprocess
import sys
from pathlib import Path

import pytest

from classification.config import PretrainConfig
from detection.config import DetectionConfig
from detection.localization.localization_config import LocalizationConfig
from foundation.option_listing import list_keys
from reproduction.analysis_config import AnalyzeConfig, RandomNetworksConfig
from segmentation.config import SegmentationConfig

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = [
    *(PretrainConfig, DetectionConfig, LocalizationConfig, SegmentationConfig),
    *(AnalyzeConfig, RandomNetworksConfig),
]
TAKE_KEYS = [
    file for file in sorted((ROOT / "tools").glob("*.py")) if '"overrides", nargs' in file.read_text()
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
def test_every_key_has_a_meaning(schema: type):
    """In its class's docstring, under "Attributes:"."""
    assert [key.name for key in list_keys(schema) if len(key.meaning.split()) < 2] == []


def test_the_page_is_fresh():
    """Write it anew with python tools/keys.py > docs/configuration.md."""
    command = [sys.executable, str(ROOT / "tools" / "keys.py")]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert page == (ROOT / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("file", TAKE_KEYS, ids=lambda file: file.stem)
def test_tools_that_take_keys_list_them(file: Path):
    assert 'keys="' in file.read_text()
