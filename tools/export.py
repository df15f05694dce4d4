"""Export a weight file for other runtimes: ONNX (.onnx) or torch.export (.pt2), any batch and picture size.

python tools/export.py runs/imagenet_r50/best.safetensors r50.onnx --pixels uint8 --fold
python tools/export.py r50.safetensors features.pt2 --features res4 res5
python tools/export.py runs/coco_frcnn_r50/best.safetensors detector.onnx roi.score_threshold=0.3
python tools/export.py runs/voc12_deeplabv3_r50/best.safetensors segmenter.onnx model.output_stride=16
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__, keys="detection.config:DetectionConfig")
    add = parser.add_argument
    add("weights", type=Path, metavar="WEIGHTS", help="of a classifier, a detector or for segmentation, ours")
    add("out", type=Path, metavar="OUT", help=".onnx or .pt2")
    add("overrides", nargs="*", metavar="key=value", help="of the training; not for classifiers")
    add("--features", nargs="+", default=[], metavar="NAME", help="feature maps in place of the logits")
    text = """what it takes: RGB in 0-255 that it normalises itself (uint8 is the default), or normalised
        pictures (a classifier's default; not for detectors)"""
    add("--pixels", choices=("normalised", "float32", "uint8"), default=argparse.SUPPRESS, help=text)
    add("--logits", action="store_true", help="of segmentation: those of all classes, in place of labels")
    add("--fold", action="store_true", help="fold batch normalisation into convolutions")
    add("--overwrite", action="store_true", help="replace OUT")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from backbones.weights.weight_files import read_header
    from foundation.errors import UserError
    from segmentation.model.segmenters_by_name import is_segmenter

    options = vars(arguments)
    names = ("weights", "out", "features", "overrides", "logits")
    weights, out, features, overrides, logits = (options.pop(name) for name in names)
    header = read_header(weights)
    segments = header is not None and is_segmenter(header.model)
    if logits and not segments:
        raise UserError("--logits is for weights of tools/train_seg.py; leave it out")
    if segments:
        from segmentation.build import load_trained
        from segmentation.export import check_export, export

        if features:
            raise UserError("--features are for classifiers' weights; this file gives labels, or --logits")
        trained = load_trained(weights, overrides)
        export(trained, out, output="logits" if logits else "labels", **options)
        difference = check_export(trained.network, out)
    elif header is not None and header.model == "FasterRCNN":
        from detection.build import load_detector
        from detection.export import check_export, export

        if features:
            raise UserError("--features are for classifiers' weights; a detector's file gives detections")
        loaded = load_detector(weights, overrides)
        export(loaded, out, **options)
        difference = check_export(loaded.model, out)
    else:
        from backbones import load_network
        from backbones.export import check_export, export

        if overrides:
            raise UserError(
                f"{overrides[0]}: keys are for weights of a detector or segmentation, {weights} has neither"
            )
        network = load_network(weights, out_features=features)
        export(network, out, classes=[] if features or header is None else header.classes, **options)
        difference = check_export(network, out)
    say(f"{out}: largest difference from the network {difference:.1e} of the largest output")


if __name__ == "__main__":
    run(main, parser())
