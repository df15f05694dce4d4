"""Fine-tune Faster R-CNN from backbone weights. Without arguments: on the generated set Shapes."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from training.command import build_parser, run


def parser() -> argparse.ArgumentParser:
    return build_parser(
        __doc__,
        keys="detection.config:DetectionConfig",
        config_default=str(ROOT / "configs/shapes_frcnn_r18.yaml"),
    )


def main(arguments: argparse.Namespace) -> None:
    from detection.config import DetectionConfig
    from detection.train import finetune
    from training.config import load_config

    config = load_config(DetectionConfig, arguments.config, arguments.overrides)
    out = arguments.out or Path("runs") / arguments.config.stem
    finetune(config, out, resume=arguments.resume, overwrite=arguments.overwrite)


if __name__ == "__main__":
    run(main, parser())
