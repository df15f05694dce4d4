"""Train a detector on a few pictures until it knows them by heart: a quick check that everything learns."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from training.command import build_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = build_parser(
        __doc__,
        keys="detection.config:DetectionConfig",
        config_default=str(ROOT / "configs/coco_overfit_mrcnn_r18_fpn.yaml"),
    )
    parser.add_argument("--pictures", type=int, default=8, metavar="N", help="how many (default: 8)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from detection.config import DetectionConfig
    from detection.results.metrics_by_name import describe
    from foundation.errors import UserError
    from reproduction.detectors.overfit import overfit
    from training.config import load_config
    from training.devices import is_main

    if arguments.pictures < 1:
        raise UserError(f"--pictures must be 1 or more, got {arguments.pictures}")
    config = load_config(DetectionConfig, arguments.config, arguments.overrides)
    out = arguments.out or Path("runs") / arguments.config.stem
    flags = {"resume": arguments.resume, "overwrite": arguments.overwrite}
    result = overfit(config, arguments.pictures, out, **flags)
    if is_main():
        say(describe(result))


if __name__ == "__main__":
    run(main, parser())
