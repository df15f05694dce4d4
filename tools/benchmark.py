"""Time training, inference and evaluation beside torchvision and pycocotools, in turn in one process."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.command import run


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="timed rounds of each (default: 5)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from engine.device import resolve_device
    from engine.errors import UserError
    from reproduction.benchmark import benchmark

    if arguments.rounds < 1:
        raise UserError(f"--rounds must be 1 or more, got {arguments.rounds}")
    print(benchmark(arguments.rounds, resolve_device(arguments.device).type))


if __name__ == "__main__":
    run(main, parser())
