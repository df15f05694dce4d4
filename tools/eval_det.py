"""Score a detector's weights, or a COCO-style result file of any detector, with the official metrics.

python tools/eval_det.py --weights runs/voc07_frcnn_r50/best.safetensors
python tools/eval_det.py --predictions FILE --dataset coco:ANNOTATIONS.json
python tools/eval_det.py --predictions FILE --dataset voc:VOCdevkit/VOC2007:test --method 11point
python tools/eval_det.py --weights FILE --explain --bootstrap 1000 --report --out runs/looked_at
python tools/eval_det.py --weights FILE data.val=2012:test --submission runs/for_the_server
python tools/eval_det.py --weights FILE --without res3.1 --bootstrap 1000        # what hangs on that block?
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import run


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--weights", metavar="FILE", help="a detector's weights; scored as in its training")
    source.add_argument("--predictions", metavar="FILE", help="a COCO-style result file")
    parser.add_argument(
        "--dataset", metavar="SET", help="coco:ANNOTATIONS.json or voc:DEVKIT/VOC<year>:<split>"
    )
    parser.add_argument("--method", choices=["area", "11point"], help="of VOC AP (default: area)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for result.json, and predictions.json of --weights (default: nothing is written)",
    )
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="BLOCK",
        help="leave out the residuals of these blocks of the backbone, for instance res3.1 res4.0",
    )
    add_wishes(parser)
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="of the training configuration, with --weights"
    )
    return parser


def add_wishes(parser: argparse.ArgumentParser) -> None:
    """What can be wanted beside the score; `detection.results.detection_report.Wishes`."""
    parser.add_argument(
        "--explain", action="store_true", help="why VOC2007, VOC2012 and COCO figures of these differ"
    )
    parser.add_argument(
        "--bootstrap",
        type=int,
        metavar="N",
        help="95 %% interval of the figure over N resamples of the pictures, for instance 1000",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="into --out: curves, kinds of errors, confusions, the worst false alarms and misses as pictures",
    )
    parser.add_argument(
        "--worst", type=int, default=20, metavar="N", help="pictures of each kind in the report (default: 20)"
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="pictures of coco:…, where they lie elsewhere than COCO's",
    )
    parser.add_argument(
        "--submission",
        type=Path,
        metavar="PLACE",
        help="write the files that the evaluation server wants: a folder, or of COCO a .json file",
    )


def refuse_without_effect(arguments: argparse.Namespace) -> None:
    from foundation.errors import UserError

    if arguments.weights and (arguments.dataset or arguments.method):
        raise UserError(
            "--dataset and --method belong to --predictions; with --weights choose the set with "
            "data.root=DIR data.val=SPLIT and the metric with metric=voc07, voc12 or coco"
        )
    if arguments.weights and arguments.pictures:
        raise UserError("--pictures belongs to --predictions; with --weights choose data.root=DIR")
    if arguments.predictions and arguments.without:
        raise UserError("--without belongs to --weights: a result file has no blocks that could be left out")
    if arguments.predictions and arguments.overrides:
        raise UserError(
            f"{arguments.overrides[0]} changes a detector's configuration, which belongs to --weights; with "
            "--predictions choose the set with --dataset and the metric with --method"
        )
    if arguments.method and (arguments.dataset or "").startswith("coco:"):
        raise UserError("--method is of VOC AP; leave it out with --dataset coco:…, or score on voc:…")


def main(arguments: argparse.Namespace) -> None:
    from detection.results.detection_report import Wishes, describe_all
    from detection.results.scored_files import score_predictions_file, score_weights

    refuse_without_effect(arguments)
    wishes = Wishes(**{field.name: getattr(arguments, field.name) for field in fields(Wishes)})
    if arguments.weights:
        # Behind --without argparse takes key=value for blocks.
        without = [name for name in arguments.without if "=" not in name]
        overrides = [name for name in arguments.without if "=" in name] + arguments.overrides
        weights, out = Path(arguments.weights), arguments.out
        result = score_weights(weights, overrides, out, wishes, without=without)
    else:
        method, out = arguments.method or "area", arguments.out
        result = score_predictions_file(arguments.predictions, arguments.dataset, method, out, wishes)
    if result:
        print(describe_all(result))


if __name__ == "__main__":
    run(main, parser())
