"""Train a network for semantic segmentation: a class for every pixel.

python tools/train_seg.py                                         # the generated set Shapes
python tools/train_seg.py --config configs/voc12_deeplabv3_r50.yaml
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
        keys="segmentation.config:SegmentationConfig",
        config_default=str(ROOT / "configs" / "shapes_fcn_r18.yaml"),
    )


def main(arguments: argparse.Namespace) -> None:
    from segmentation.config import SegmentationConfig
    from segmentation.segmenter_training import train_segmenter
    from training.config import load_config

    config = load_config(SegmentationConfig, arguments.config, arguments.overrides)
    out = arguments.out or Path("runs") / arguments.config.stem
    train_segmenter(config, out, resume=arguments.resume, overwrite=arguments.overwrite)


if __name__ == "__main__":
    run(main, parser())
