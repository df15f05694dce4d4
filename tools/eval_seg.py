"""Score a network for semantic segmentation, or anybody's label maps: mean IoU and more.

python tools/eval_seg.py --weights runs/voc12_deeplabv3_r50/best.safetensors
python tools/eval_seg.py --weights FILE --bootstrap 1000 testing.flip=true "testing.scales=[0.75,1,1.25]"
python tools/eval_seg.py --weights FILE --masks FOLDER data.val=2012:test      # PNGs for the server
python tools/eval_seg.py --weights FILE --without res3.1 --bootstrap 1000      # what hangs on that block?
python tools/eval_seg.py --predictions FOLDER data.kind=voc data.val=2012:val
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__, keys="segmentation.config:SegmentationConfig")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--weights", type=Path, metavar="FILE", help="of tools/train_seg.py")
    text = "PNGs of indices, one a picture, called as it"
    source.add_argument("--predictions", type=Path, metavar="FOLDER", help=text)
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="for result.json and per_picture.npz")
    add("--masks", type=Path, metavar="FOLDER", help="write what the network finds, PNGs of indices")
    text = "leave out the residuals of these blocks of the backbone, for instance res3.1 res4.0"
    add("--without", nargs="+", default=[], metavar="BLOCK", help=text)
    add("--boundaries", action="store_true", help="also the boundary F")
    text = "95 %% interval of the mean IoU over N resamples of the pictures, for instance 1000"
    add("--bootstrap", type=int, metavar="N", help=text)
    add("overrides", nargs="*", metavar="key=value", help="of the training's configuration; or the set")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from segmentation.results.segmentation_evaluation import evaluate_segmentation
    from segmentation.results.segmentation_result import describe_segmentation

    result = evaluate_segmentation(**vars(arguments))
    if result and "scores" in result:
        say(describe_segmentation(result))


if __name__ == "__main__":
    run(main, parser())
