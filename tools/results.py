"""What was run, as docs/results.md and docs/benchmarks.md hold it: prose, and tables drawn from records.

python tools/results.py > docs/results.md
python tools/results.py benchmarks > docs/benchmarks.md
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    text = "runs (reproduction/records/*.json) or benchmarks (benchmarks/records/cpu.json); default: runs"
    parser.add_argument("page", nargs="?", choices=["runs", "benchmarks"], default="runs", help=text)
    return parser


def main(arguments: argparse.Namespace) -> None:
    from benchmarks.measuring.speed_page import speed_page
    from reproduction.results.results_page import results_page

    say(speed_page() if arguments.page == "benchmarks" else results_page(), end="")


if __name__ == "__main__":
    run(main, parser())
