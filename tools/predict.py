"""Detect objects in pictures and videos: draws them, and lists them in one COCO-style predictions.json."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import run


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE | key=value",
        help="pictures, folders of pictures, video files; changes to the configuration, as run.device=cpu",
    )
    parser.add_argument("--weights", required=True, metavar="FILE", help="a detector's weights")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/predict"), metavar="DIR", help="default: runs/predict"
    )
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is not empty")
    parser.add_argument(
        "--threshold", type=float, default=0.5, metavar="P", help="least score drawn (default: 0.5)"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="only the first N pictures, also of each video"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    from detection.results.annotated_pictures import predict_pictures

    overrides = [text for text in arguments.pictures if "=" in text and not Path(text).exists()]
    predict_pictures(
        [Path(text) for text in arguments.pictures if text not in overrides],
        Path(arguments.weights),
        arguments.out,
        threshold=arguments.threshold,
        limit=arguments.limit,
        overwrite=arguments.overwrite,
        overrides=overrides,
    )


if __name__ == "__main__":
    run(main, parser())
