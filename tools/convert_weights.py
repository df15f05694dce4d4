"""Convert a weight file from or to torchvision, timm, detectron2, Caffe or PyTorch's CIFAR networks.

python tools/convert_weights.py resnet50.pth r50.safetensors --from torchvision
python tools/convert_weights.py R-50.pkl r50.safetensors --backbone-only
python tools/convert_weights.py ResNet-50-model.caffemodel r50.safetensors --mean ResNet_mean.binaryproto
python tools/convert_weights.py r50.safetensors r50.pkl --to detectron2
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say

FORMATS = ("ours", "torchvision", "timm", "detectron2", "caffe", "cifar")
PICTURES = ("imagenet", "inception", "msra")


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("source", type=Path, metavar="SRC")
    add("target", type=Path, metavar="DST")
    add("--from", dest="source_format", choices=("auto", *FORMATS), default="auto", help="default: by names")
    add("--to", dest="target_format", choices=FORMATS, default="ours", help="default: ours")
    add("--model", metavar="NAME", help="our name of the network (default: by its tensors)")
    add("--part", metavar="NAME", help="which network of SRC, where it holds several")
    add("--stride-on", choices=("1x1", "3x3"), help="of SRC's bottlenecks, where it does not say")
    add("--stem-pool", choices=("padded", "ceil"), help="declare DST to be for this pooling")
    add("--source-input", choices=PICTURES, help="pictures SRC was trained on, where it does not say")
    add("--mean", type=Path, metavar="FILE", help="Caffe's _mean.binaryproto, for --source-input")
    add("--input", dest="target_input", choices=(*PICTURES, "keep"), help="rewrite the first convolution")
    add("--allow-missing", nargs="+", action="extend", default=[], metavar="NAME", help="of the network")
    add("--allow-unexpected", nargs="+", action="extend", default=[], metavar="NAME", help="of SRC")
    add("--backbone-only", action="store_true", help="leave out the classifier and a detector's heads")
    add("--overwrite", action="store_true", help="replace DST")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from backbones.convert import convert

    say(convert(**vars(arguments)).describe())


if __name__ == "__main__":
    run(main, parser())
