"""Score a detector's weights, or a COCO-style result file of any detector, with the official metrics.

python tools/eval_det.py --weights runs/voc07_frcnn_r50/best.safetensors
python tools/eval_det.py --predictions FILE --dataset coco:ANNOTATIONS.json
python tools/eval_det.py --predictions FILE --dataset yolo:MY_SET       # or of any kind that trains; [:SPLIT]
python tools/eval_det.py --predictions FILE --dataset voc:VOCdevkit/VOC2007:test --method 11point
python tools/eval_det.py --predictions A --predictions B --dataset SET --merge wbf   # an ensemble
python tools/eval_det.py --weights FILE --explain --bootstrap 1000 --report --out runs/looked_at
python tools/eval_det.py --weights FILE --operating-point precision=0.9 --out runs/looked_at
python tools/eval_det.py --weights FILE data.val=2012:test --submission runs/for_the_server
python tools/eval_det.py --weights FILE --tiles 800 --tta flip,scales            # better answers, slower
python tools/eval_det.py --weights A --weights B testing.refine=1                # an ensemble, boxes refined
python tools/eval_det.py --weights FILE --without res3.1 --bootstrap 1000        # what hangs on that block?
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detection.improve.improve_options import add_improve_options, take_improve_options
from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__, keys="detection.config:DetectionConfig")
    source = parser.add_mutually_exclusive_group(required=True)
    text = "a detector's, or a published name, scored as in training; given again, an ensemble"
    source.add_argument("--weights", action="append", metavar="FILE", help=text)
    text = "a COCO-style result file; given again, what several files say together (--merge)"
    source.add_argument("--predictions", action="append", metavar="FILE", help=text)
    add = parser.add_argument
    text = "KIND:ROOT[:SPLIT], KIND as data.kind; coco:ANNOTATIONS.json, voc:DEVKIT/VOC<year>:<split>"
    add("--dataset", metavar="SET", help=text)
    add("--method", choices=["area", "11point"], help="of VOC AP (default: area)")
    add("--out", type=Path, metavar="DIR", help="for result.json and predictions.json")
    text = "leave out the residuals of these blocks of the backbone, for instance res3.1 res4.0"
    add("--without", nargs="+", default=[], metavar="BLOCK", help=text)
    add("--explain", action="store_true", help="why VOC2007, VOC2012 and COCO figures of these differ")
    text = "95 %% interval of the figure over N resamples of the pictures, for instance 1000"
    add("--bootstrap", type=int, metavar="N", help=text)
    text = "into --out: curves, kinds of errors, confusions, the worst false alarms and misses as pictures"
    add("--report", action="store_true", help=text)
    text = "choose each class's threshold for an equal precision=P or recall=R, or its best f1; into --out"
    add("--operating-point", metavar="GOAL", help=text)
    add("--worst", type=int, default=argparse.SUPPRESS, metavar="N", help="of each kind (default: 20)")
    add("--pictures", type=Path, metavar="DIR", help="where they lie elsewhere than the set's layout says")
    text = "the files for the evaluation server: a folder, or of COCO a .json file, of ILSVRC a .txt"
    add("--submission", type=Path, metavar="PLACE", help=text)
    text = "of the training configuration; with --predictions data.… and metric, of KIND:ROOT"
    add_improve_options(parser)
    add("overrides", nargs="*", metavar="key=value", help=text)
    return parser


def main(arguments: argparse.Namespace) -> None:
    from dataclasses import fields

    from detection.results.detection_report import ReportOptions, describe_all
    from detection.results.evaluation import evaluate

    given = vars(arguments)
    merge = {"merge": given.pop("merge")} if given["predictions"] else {}
    improve = take_improve_options(given)
    named = {field.name for field in fields(ReportOptions)} & given.keys()
    options = ReportOptions(**{name: given.pop(name) for name in named})
    result = evaluate(**given, **merge, options=options, improve=improve)
    if result:
        say(describe_all(result))


if __name__ == "__main__":
    run(main, parser())
