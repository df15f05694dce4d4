"""Export a weight file for other runtimes: ONNX (.onnx) or torch.export (.pt2), any batch and picture size.

python tools/export.py runs/imagenet_r50/best.safetensors r50.onnx --pixels uint8 --fold
python tools/export.py r50.safetensors features.pt2 --features res4 res5
python tools/export.py runs/coco_frcnn_r50/best.safetensors detector.onnx
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import run


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="of a classifier or detector, ours")
    parser.add_argument("out", type=Path, metavar="OUT", help=".onnx or .pt2")
    parser.add_argument(
        "--features", nargs="+", default=[], metavar="NAME", help="feature maps in place of the logits"
    )
    parser.add_argument(
        "--pixels",
        choices=("normalised", "float32", "uint8"),
        help="what it takes: RGB in 0-255 that it normalises itself (uint8 is a detector's default), or "
        "normalised pictures (a classifier's default; not for detectors)",
    )
    parser.add_argument("--fold", action="store_true", help="fold batch normalisation into convolutions")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from backbones.weights.weight_files import read_header

    for name in ("onnxscript", "onnx_ir"):  # they tell every step of theirs
        logging.getLogger(name).setLevel(logging.WARNING)
    header = read_header(arguments.weights)
    write = export_detector if header is not None and header.model == "FasterRCNN" else export_network
    difference = write(arguments)
    print(f"{arguments.out}: largest difference from the network {difference:.1e} of the largest output")


def export_network(arguments: argparse.Namespace) -> float:
    from backbones import load_network
    from backbones.export import check_export, export
    from backbones.weights.weight_files import read_header

    network = load_network(arguments.weights, out_features=arguments.features)
    header = read_header(arguments.weights)
    classes = [] if arguments.features or header is None else header.classes
    options = {"pixels": arguments.pixels or "normalised", "classes": classes, "fold": arguments.fold}
    export(network, arguments.out, overwrite=arguments.overwrite, **options)
    return check_export(network, arguments.out)


def export_detector(arguments: argparse.Namespace) -> float:
    from detection.build import load_detector
    from detection.export import check_export, export
    from foundation.errors import UserError

    if arguments.features:
        raise UserError("--features are for classifiers' weights; a detector's file gives detections")
    loaded = load_detector(arguments.weights)
    options = {"pixels": arguments.pixels or "uint8", "fold": arguments.fold}
    export(loaded, arguments.out, overwrite=arguments.overwrite, **options)
    return check_export(loaded.model, arguments.out)


if __name__ == "__main__":
    run(main, parser())
