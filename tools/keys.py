"""Every key of every configuration, as docs/configuration.md holds them.

python tools/keys.py > docs/configuration.md
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    return new_parser(__doc__)


def main(arguments: argparse.Namespace) -> None:
    from classification.config import PretrainConfig
    from detection.config import DetectionConfig
    from detection.localization.localization_config import LocalizationConfig
    from foundation.option_listing import configuration_page
    from reproduction.analysis_config import AnalyzeConfig, RandomNetworksConfig
    from segmentation.config import SegmentationConfig

    schemas = {
        "Detectors": DetectionConfig,
        "Pretraining": PretrainConfig,
        "Localization": LocalizationConfig,
        "Segmentation": SegmentationConfig,
        "Analyses": AnalyzeConfig,
        "The experiment on random networks": RandomNetworksConfig,
    }
    say(configuration_page(schemas), end="")


if __name__ == "__main__":
    run(main, parser())
