"""One HTML page about a run, or several runs compared: nothing to install, no request leaves the file.

python tools/report.py runs/shapes_r18                      # writes runs/shapes_r18/report.html
python tools/report.py runs/frozen runs/scratch --out comparison.html

A RUN is a folder that pretrain.py, train_det.py, train_loc.py, train_seg.py, one of eval_cls.py, eval_det.py,
eval_loc.py and eval_seg.py with --out, or analyze.py wrote.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, an evaluation or an analysis")
    add("--out", type=Path, metavar="FILE", help="page to write (default: report.html in the only folder)")
    text = "of the pictures, for intervals by the bootstrap and for differences (default: 1000)"
    add("--resamples", type=int, default=1000, metavar="N", help=text)
    return parser


def main(arguments: argparse.Namespace) -> None:
    from reporting.run_report import write_report

    say(write_report(arguments.runs, arguments.out, arguments.resamples))


if __name__ == "__main__":
    run(main, parser())
