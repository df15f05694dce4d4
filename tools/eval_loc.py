"""Score networks for localization with ILSVRC's error, on the true class and on a classifier's guesses.

python tools/eval_loc.py --weights RPN --guesses A.npz --save-boxes RPN.npz    # best.safetensors of a run
python tools/eval_loc.py --weights RPN testing.protocol=one_crop               # the centre crop alone
python tools/eval_loc.py --weights RCNN --boxes RPN.npz --guesses A.npz        # R-CNN on these proposals
python tools/eval_loc.py --boxes ONE.npz --boxes TWO.npz --guesses A.npz --guesses B.npz    # ensembles

A.npz is of tools/eval_cls.py --save-logits on the same pictures.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__, keys="detection.localization.localization_config:LocalizationConfig")
    add = parser.add_argument
    add("--weights", type=Path, metavar="FILE", help="of tools/train_loc.py")
    text = "of --save-boxes: proposals for R-CNN; without --weights to be scored, given again an ensemble"
    add("--boxes", type=Path, action="append", default=[], metavar="NPZ", help=text)
    text = "a classifier's scores of these pictures; given again, those of several, averaged"
    add("--guesses", type=Path, action="append", default=[], metavar="NPZ", help=text)
    add("--save-boxes", type=Path, metavar="NPZ", help="write the boxes of every picture and class")
    add("--out", type=Path, metavar="DIR", help="for result.json and per_picture.npz")
    add("--submission", type=Path, metavar="FILE", help="for ILSVRC's server; a .csv as Kaggle has it")
    text = "95 %% intervals over N resamples of the pictures, for instance 1000"
    add("--bootstrap", type=int, metavar="N", help=text)
    add("overrides", nargs="*", metavar="key=value", help="of the training's configuration")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from classification.score.saved_scores import average
    from detection.localization.localization_evaluation import evaluate_localization
    from detection.localization.localization_result import describe_localization
    from foundation.errors import UserError

    given = vars(arguments)
    files = given.pop("guesses")
    if not given["weights"] and not given["boxes"]:
        raise UserError("nothing to score: give --weights FILE, or --boxes NPZ of --save-boxes")
    result = evaluate_localization(**given, guesses=average(files) if files else None)
    if result and "scores" in result:
        say(describe_localization(result))


if __name__ == "__main__":
    run(main, parser())
