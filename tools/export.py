"""Export a weight file for other runtimes: ONNX (.onnx) or torch.export (.pt2), any batch and picture size.

python tools/export.py runs/imagenet_r50/best.safetensors r50.onnx --pixels uint8 --fold
python tools/export.py r50.safetensors features.pt2 --features res4 res5
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.command import run


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="a classifier's, with our header")
    parser.add_argument("out", type=Path, metavar="OUT", help=".onnx or .pt2")
    parser.add_argument(
        "--features", nargs="+", default=[], metavar="NAME", help="feature maps in place of the logits"
    )
    parser.add_argument(
        "--pixels",
        choices=("normalised", "float32", "uint8"),
        default="normalised",
        help="what it takes: normalised pictures (default), or RGB in 0-255 that it normalises itself",
    )
    parser.add_argument("--fold", action="store_true", help="fold batch normalisation into convolutions")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from backbones import load_network, read_weights
    from backbones.export import check_export, export

    for name in ("onnxscript", "onnx_ir"):  # they tell every step of theirs
        logging.getLogger(name).setLevel(logging.WARNING)
    network = load_network(arguments.weights, out_features=arguments.features)
    _, header = read_weights(arguments.weights)
    options = {name: getattr(arguments, name) for name in ("pixels", "fold", "overwrite")}
    export(network, arguments.out, classes=[] if arguments.features else header.classes, **options)
    difference = check_export(network, arguments.out)
    print(f"{arguments.out}: largest difference from the network {difference:.1e} of the largest output")


if __name__ == "__main__":
    run(main, parser())
