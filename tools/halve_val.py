"""Divide the validation pictures of ImageNet DET into two halves with the same share of every class.

The paper trains on val1 and scores on val2, the halves of Girshick et al. 2014, which R-CNN's code publishes.
Where you have those, use them. These are of the same kind, but others: figures on them are not the paper's.

python tools/halve_val.py data/ILSVRC         # writes ImageSets/DET/our_val1.txt and our_val2.txt
python tools/train_det.py data.kind=imagenet_det data.train=train+our_val1 data.val=our_val2
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of ILSVRC with ImageSets/DET")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from detection.imagenet.val_halves import write_halves

    for line in write_halves(arguments.root):
        say(line)


if __name__ == "__main__":
    run(main, parser())
