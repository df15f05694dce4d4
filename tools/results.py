"""What was run, as docs/results.md holds it: prose, and tables drawn from reproduction/records/*.json.

python tools/results.py > docs/results.md
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    return new_parser(__doc__)


def main(arguments: argparse.Namespace) -> None:
    from reproduction.results.results_page import results_page

    say(results_page(), end="")


if __name__ == "__main__":
    run(main, parser())
