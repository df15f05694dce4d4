"""Pack class folders into tar shards for pretraining (data.kind=shards), and for WebDataset's readers.

python tools/make_shards.py data/imagenet --out data/imagenet_shards            # train and val
python tools/make_shards.py data/imagenet --out DIR --splits train --pictures 5000
python tools/pretrain.py --config FILE data.kind=shards data.root=data/imagenet_shards
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("root", type=Path, metavar="ROOT", help="folder with SPLIT/CLASS/PICTURE")
    add("--out", required=True, type=Path, metavar="DIR", help="folder for SPLIT/*.tar")
    add("--splits", nargs="+", default=["train", "val"], metavar="SPLIT", help="default: train val")
    add("--pictures", type=int, default=1000, metavar="N", help="pictures in a shard (default: 1000)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from classification.data.shards import write_shards
    from foundation.errors import UserError

    if arguments.pictures < 1:
        raise UserError(f"--pictures must be 1 or more, got {arguments.pictures}")
    for split in arguments.splits:
        paths = write_shards(arguments.root, split, arguments.out, arguments.pictures)
        say(f"{len(paths)} shards in {paths[0].parent}")


if __name__ == "__main__":
    run(main, parser())
