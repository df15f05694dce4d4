"""Reproduce a table or figure of the paper: plan, cost, missing runs, then paper / ours / difference.

python tools/reproduce.py --table 6 --rows resnet20 plain20 --seeds 3
python tools/reproduce.py --figure 6 --only-report
python tools/reproduce.py --table 9 --rows baseline refinement context
python tools/reproduce.py --table identity2 --depth 110=20 --depth 164=29 schedule.total_steps=1000

python tools/reproduce.py --table 13 --guesses scores.npz     # of tools/eval_cls.py --save-logits

The keys of Tables 7 to 12 are those of tools/train_det.py --keys, of 13 and 14 those of tools/train_loc.py.
The same command again goes on where it was stopped.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__, keys="classification.config:PretrainConfig")
    add = parser.add_argument
    text = "2, 3, 4 or 6, with the figures of its networks; 7 to 10 and 12 to 14; identity1 or identity2"
    add("--table", metavar="N", help=f"{text} (He et al. 2016)")
    add("--figure", metavar="NAME", help="4, 6 or degradation, alone")
    add("--rows", nargs="+", default=[], metavar="NAME", help="networks, or detectors (default: all)")
    add("--seeds", type=int, default=3, metavar="N", help="runs of each row (default: 3)")
    text = "runs at once, on one GPU; of detectors each on its share of the CPU's cores (default: 1)"
    add("--together", type=int, default=1, metavar="N", help=text)
    text = "OLD=NEW: classifiers of NEW layers in place of OLD, to try a table in small; given again, several"
    add("--depth", action="append", default=[], dest="depths", metavar="OLD=NEW", help=text)
    add("--config", type=Path, metavar="FILE", help="in place of the own configurations of Tables 7 to 14")
    text = "for Tables 13 and 14, a classifier's scores of the pictures; given again, several's"
    add("--guesses", type=Path, action="append", default=[], metavar="NPZ", help=text)
    add("--out", type=Path, default=Path("runs/reproduce"), metavar="DIR", help="default: runs/reproduce")
    add("--dry-run", action="store_true", help="print the plan and its cost only")
    add("--only-report", action="store_true", help="report what has ended, run nothing")
    add("overrides", nargs="*", metavar="key=value", help="for every run, for instance run.precision=bf16")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from foundation.errors import UserError
    from reproduction.detectors.detection_tables import DETECTION_TABLES
    from reproduction.detectors.reproduce_detectors import reproduce_detectors
    from reproduction.localization.localization_tables import LOCALIZATION_TABLES
    from reproduction.localization.reproduce_localization import reproduce_localization
    from reproduction.reproduce import reproduce, select

    options = vars(arguments)
    table, figure, out, rows = (options.pop(name) for name in ("table", "figure", "out", "rows"))
    options["names"] = [name for name in rows if "=" not in name]
    options["overrides"] = [name for name in rows if "=" in name] + options["overrides"]
    guesses = options.pop("guesses")
    own = figure is None and table in (*DETECTION_TABLES, *LOCALIZATION_TABLES)
    if own and (depths := options.pop("depths")):
        raise UserError(f"--depth {depths[0]} belongs to the tables of classifiers; leave it out")
    if table in LOCALIZATION_TABLES and figure is None:
        reproduce_localization(table, out, guesses=guesses, **options)
        return
    if guesses:
        raise UserError(f"--guesses {guesses[0]} belongs to Tables 13 and 14; leave it out")
    if table in DETECTION_TABLES and figure is None:
        reproduce_detectors(table, out, **options)
    else:
        reproduce(select(table, figure), out, **options)


if __name__ == "__main__":
    run(main, parser())
