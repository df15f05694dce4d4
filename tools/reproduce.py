"""Reproduce a table or figure of the paper: plan, cost, missing runs, then paper / ours / difference.

python tools/reproduce.py --table 6 --rows resnet20 plain20 --seeds 3
python tools/reproduce.py --figure 6 --only-report

The same command again goes on where it was stopped.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import run


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", metavar="N", help="2, 3, 4 or 6, with the figures of its networks")
    parser.add_argument("--figure", metavar="NAME", help="4, 6 or degradation, alone")
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="networks (default: all)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each row (default: 3)")
    parser.add_argument(
        "--together", type=int, default=1, metavar="N", help="runs at once on one GPU (default: 1)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/reproduce"), metavar="DIR", help="(default: runs/reproduce)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and its cost only")
    parser.add_argument("--only-report", action="store_true", help="report what has ended, run nothing")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="for every run, for instance run.precision=bf16"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    from reproduction.reproduce import reproduce, select

    names = [name for name in arguments.rows if "=" not in name]
    overrides = [name for name in arguments.rows if "=" in name] + arguments.overrides
    reproduce(
        select(arguments.table, arguments.figure),
        arguments.out,
        names=names,
        seeds=arguments.seeds,
        together=arguments.together,
        overrides=overrides,
        dry_run=arguments.dry_run,
        only_report=arguments.only_report,
    )


if __name__ == "__main__":
    run(main, parser())
