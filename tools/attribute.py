"""Hold a detector and swap one group of its settings at a time: what does its figure owe to each?

python tools/attribute.py --config configs/voc07_frcnn_r18.yaml --seeds 3
  --swap backbone.name=plain18 backbone.weights=runs/imagenette_p18/last.safetensors
  --swap backbone.norm=batch backbone.frozen_stages=0

Every variant is trained with each seed; its figure comes as mean and deviation over the seeds, with the
paired difference from the configuration as it is. Settings of all variants stand before the first --swap.
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
    text = "one variant, named by this text; give it once for each"
    add("--swap", nargs="+", action="append", default=[], metavar="key=value", help=text)
    add("--seeds", type=int, default=3, metavar="N", help="runs of each variant (default: 3)")
    text = "so many runs at once, each on its share of the CPU's cores (default: 1)"
    add("--processes", type=int, default=1, metavar="N", help=text)
    return parser


def main(arguments: argparse.Namespace) -> None:
    from reproduction.detectors.attribution import attribute
    from reproduction.results.paired_groups import told

    out = arguments.out or Path("runs") / f"{arguments.config.stem}_attribution"
    names = ("overrides", "resume", "overwrite", "processes")
    flags = {name: getattr(arguments, name) for name in names}
    found = attribute(arguments.config, arguments.swap, arguments.seeds, out, **flags)
    if found is not None:
        say(told(found))


if __name__ == "__main__":
    run(main, parser())
