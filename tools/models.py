"""List the networks (layers, parameters, multiply-adds, strides, the paper's error), or published weights.

python tools/models.py "resnet*"
python tools/models.py --layers resnet50 --stride-on 1x1
python tools/models.py --weights "*resnet50*"
python tools/models.py --weights "timm/convnext_tiny*"
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    parser.add_argument("pattern", nargs="?", default="*", help="of names, as the shell's (default: all)")
    parser.add_argument("--layers", metavar="NAME", help="the layer table of one network instead")
    parser.add_argument("--stride-on", choices=["1x1", "3x3"], help="of its bottlenecks; the paper's: 1x1")
    parser.add_argument(
        "--weights", nargs="?", const="*", metavar="PATTERN", help="weights to be had by name instead"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    from backbones import list_models
    from foundation.errors import UserError
    from reproduction.models import overview, stages, weights_listing

    if arguments.weights:
        say(weights_listing(arguments.weights))
        return
    if arguments.layers:
        say(stages(arguments.layers, **({"stride_on": arguments.stride_on} if arguments.stride_on else {})))
        return
    names = list_models(arguments.pattern)
    if not names:
        raise UserError(f"no network is called {arguments.pattern!r}; without a pattern all are listed")
    say(overview(names))


if __name__ == "__main__":
    run(main, parser())
