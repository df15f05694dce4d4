"""Train a network for localization: where in a picture is the object of a given class (paper, appendix C).

python tools/train_loc.py                                            # the generated set Shapes
python tools/train_loc.py --config configs/imagenet_loc_r101.yaml    # the per-class RPN
python tools/train_loc.py --config configs/imagenet_loc_r101_rcnn.yaml    # R-CNN on its proposals
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from training.command import build_parser, run


def parser() -> argparse.ArgumentParser:
    return build_parser(
        __doc__,
        keys="detection.localization.localization_config:LocalizationConfig",
        config_default=str(ROOT / "configs" / "shapes_loc_r18.yaml"),
    )


def main(arguments: argparse.Namespace) -> None:
    from detection.localization.localization_config import LocalizationConfig
    from detection.localization.localization_training import train_localizer
    from training.config import load_config

    config = load_config(LocalizationConfig, arguments.config, arguments.overrides)
    out = arguments.out or Path("runs") / arguments.config.stem
    train_localizer(config, out, resume=arguments.resume, overwrite=arguments.overwrite)


if __name__ == "__main__":
    run(main, parser())
