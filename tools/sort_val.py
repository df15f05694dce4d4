"""Sort the validation pictures of ImageNet CLS-LOC into class folders, by links, for classifiers to read.

python tools/sort_val.py data/ILSVRC
python tools/eval_cls.py --weights FILE --save-logits A.npz data.root=data/ILSVRC/Data/CLS-LOC \
  data.val_split=val_sorted
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of ILSVRC with Data/CLS-LOC")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from detection.imagenet.sorted_val import sort_val

    say(f"sorted into {sort_val(arguments.root)}")


if __name__ == "__main__":
    run(main, parser())
