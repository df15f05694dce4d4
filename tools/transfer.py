"""Fine-tune one detector from pretrained weights, with and without freezing, and from scratch, and compare.

The start "pretrained" is the configuration's own; "pretrained_unfrozen" trains every stage and the
normalisation, as "scratch" does, so that these two differ in the weights alone. It is left out where nothing
is frozen anyway.
"""

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
        config_default=str(ROOT / "configs/shapes_frcnn_r18.yaml"),
    )
    add = parser.add_argument
    add("--weights", required=True, metavar="FILE", help="backbone weights of the pretrained runs")
    add("--seeds", type=int, default=3, metavar="N", help="runs of each start (default: 3)")
    text = "so many runs at once, each on its share of the CPU's cores (default: 1)"
    add("--processes", type=int, default=1, metavar="N", help=text)
    return parser


def main(arguments: argparse.Namespace) -> None:
    from detection.config import DetectionConfig
    from reproduction.detectors.transfer import compare
    from training.config import load_config
    from training.devices import is_main

    config = load_config(DetectionConfig, arguments.config, arguments.overrides)
    out = arguments.out or Path("runs") / f"{arguments.config.stem}_transfer"
    flags = {name: getattr(arguments, name) for name in ("resume", "overwrite", "processes")}
    comparison = compare(config, arguments.weights, arguments.seeds, out, **flags)
    if is_main():
        say(comparison.table())


if __name__ == "__main__":
    run(main, parser())
