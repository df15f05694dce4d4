"""Detect objects in pictures and videos: draws them, and lists them in one COCO-style predictions.json."""

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
    text = "a detector's weights, or its published name; given again, an ensemble"
    add("--weights", action="append", required=True, metavar="FILE", type=Path, help=text)
    add("--out", type=Path, default=Path("runs/predict"), metavar="DIR", help="default: runs/predict")
    add("--overwrite", action="store_true", help="write into a folder that is not empty")
    text = "least score drawn (default: 0.5), or of each class by eval_det.py's operating_point.json"
    add("--threshold", default=0.5, metavar="P | FILE", help=text)
    add("--limit", type=int, metavar="N", help="only the first N pictures, also of each video")
    add_improve_options(parser)
    return parser


def main(arguments: argparse.Namespace) -> None:
    from detection.results.annotated_pictures import predict_pictures

    options = vars(arguments)
    improve = take_improve_options(options)
    texts = options.pop("pictures")
    overrides = [text for text in texts if "=" in text and not Path(text).exists()]
    pictures = [Path(text) for text in texts if text not in overrides]
    predict_pictures(pictures, overrides=overrides, improve=improve, **options)


if __name__ == "__main__":
    run(main, parser())
