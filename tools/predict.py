"""Detect objects in pictures and videos: draws them, and lists them in one COCO-style predictions.json.

python tools/predict.py holiday/ film.mp4 --weights runs/voc07_frcnn_r50/best.safetensors --out found/

With weights of tools/train_seg.py every pixel gets a class: PNGs of indices in masks/, drawings in drawn/.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detection.improve.improve_options import add_improve_options, take_improve_options
from training.command import new_parser, run


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__, keys="detection.config:DetectionConfig")
    add = parser.add_argument
    text = "pictures, folders of pictures, video files; changes to the configuration, as run.device=cpu"
    add("pictures", nargs="+", metavar="PICTURE | key=value", help=text)
    text = "a detector's weights, or its published name; given again, an ensemble; or of tools/train_seg.py"
    add("--weights", action="append", required=True, metavar="FILE", type=Path, help=text)
    add("--out", type=Path, default=Path("runs/predict"), metavar="DIR", help="default: runs/predict")
    add("--overwrite", action="store_true", help="write into a folder that is not empty")
    text = "least score drawn (default: 0.5), or of each class by eval_det.py's operating_point.json"
    add("--threshold", default=argparse.SUPPRESS, metavar="P | FILE", help=text)
    add("--limit", type=int, metavar="N", help="only the first N pictures, also of each video")
    text = "also draw heat maps of the N strongest detections of each picture, in explained/ (needs captum)"
    add("--explain", type=int, metavar="N", help=text)
    add_improve_options(parser)
    return parser


def main(arguments: argparse.Namespace) -> None:
    from backbones.weights.weight_files import read_header
    from segmentation.model.segmenters_by_name import is_segmenter

    options = vars(arguments)
    texts = options.pop("pictures")
    overrides = [text for text in texts if "=" in text and not Path(text).exists()]
    pictures = [Path(text) for text in texts if text not in overrides]
    headers = [read_header(file) for file in options["weights"] if file.is_file()]
    if any(header is not None and is_segmenter(header.model) for header in headers):
        from segmentation.results.predicted_pictures import predict_label_maps

        common = {name: options.pop(name) for name in ("weights", "out", "limit", "overwrite")}
        predict_label_maps(pictures, overrides=overrides, of_detectors=options, **common)
    else:
        from detection.results.annotated_pictures import predict_pictures

        improve = take_improve_options(options)
        predict_pictures(pictures, overrides=overrides, improve=improve, **options)


if __name__ == "__main__":
    run(main, parser())
