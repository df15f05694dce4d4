"""Time networks, training and evaluation beside torchvision, timm and pycocotools, in turn in one process."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    parts = """analysis, annotations, appendix_b, backbones, cifar, classification, detectors, evaluation,
        inference, localization, pictures, segmentation, start"""
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{parts} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each, timed (default: 5)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from benchmarks.benchmark import PARTS, benchmark
    from foundation.errors import UserError, suggest
    from training.devices import resolve_device

    if arguments.rounds < 1:
        raise UserError(f"--rounds must be 1 or more, got {arguments.rounds}")
    for part in arguments.parts:
        if part not in PARTS:
            raise UserError(f"there is no part {part!r} to time{suggest(part, PARTS)}")
    say(benchmark(arguments.rounds, resolve_device(arguments.device).type, arguments.parts or tuple(PARTS)))


if __name__ == "__main__":
    run(main, parser())
