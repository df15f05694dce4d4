"""Score a classifier's weights on the validation data of its training, or on any labelled set.

python tools/eval_cls.py --weights runs/cifar10_r20/last.safetensors
python tools/eval_cls.py --weights FILE --out DIR data.val_split=test run.device=cpu
python tools/eval_cls.py --weights torchvision/resnet50.IMAGENET1K_V1 data.root=data/imagenet
python tools/eval_cls.py --weights CONVERTED data.kind=cifar10
python tools/eval_cls.py --weights FILE --protocol ten-crop      # or dense, --scales 224,256,384,480,640
python tools/eval_cls.py --weights FILE --save-logits A.npz      # the scores of every picture, for:
python tools/eval_cls.py --ensemble A.npz B.npz --out DIR        # several networks, averaged
python tools/eval_cls.py --weights FILE --labels real.json       # other labels, such as ImageNet-ReaL's
python tools/eval_cls.py --weights FILE --out DIR --reestimate-bn 100    # writes DIR/reestimated.safetensors
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__, keys="classification.config:PretrainConfig")
    add = parser.add_mutually_exclusive_group(required=True).add_argument
    add("--weights", type=Path, metavar="FILE", help="weights of a classifier, or a published name")
    add("--ensemble", type=Path, nargs="+", metavar="NPZ", help="average these files of --save-logits")
    add = parser.add_argument
    text = """centre: one crop (default); ten-crop: four corners, centre, and their mirror images (Krizhevsky
        et al. 2012); dense: whole pictures at several scales, and mirror images (He et al. 2015)"""
    add("--protocol", metavar="NAME", help=text)
    text = "short sides of dense, pixels (default: 224,256,384,480,640 times data.image_size / 224)"
    add("--scales", type=sizes, metavar="S,S", help=text)
    add("--save-logits", type=Path, metavar="FILE", help="write the scores of every picture, for --ensemble")
    add("--labels", type=Path, metavar="FILE", help="other labels (docs/scoring_classifiers.md)")
    add("--out", type=Path, metavar="DIR", help="for result.json, predictions.csv and confusion.csv")
    text = "also write submission.txt for ImageNet's server, with the numbers of map_clsloc.txt"
    add("--submission", type=Path, metavar="FILE", help=text)
    text = """first estimate the statistics of batch normalisation anew from N batches of 100 training
        pictures, and with --out write the weights with them (He et al. 2015, appendix A)"""
    add("--reestimate-bn", type=int, metavar="N", help=text)
    add("overrides", nargs="*", metavar="key=value", help="of the training configuration; or the data")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from classification.score.evaluation_report import describe
    from classification.score.weight_evaluation import score_ensemble, score_weights
    from foundation.errors import UserError
    from training.devices import is_main

    given = {name: value for name, value in vars(arguments).items() if value is not None}
    weights, files, overrides = (given.pop(name, None) for name in ("weights", "ensemble", "overrides"))
    out = given.pop("out", None)
    if weights:
        result = score_weights(weights, overrides, out, **given)
    elif unused := [*overrides, *(given.keys() - {"labels", "submission"})]:
        raise UserError(f"{', '.join(unused)} cannot change saved scores; give it with --weights instead")
    else:
        result = score_ensemble(files, out, **given)
    if is_main():
        say(describe(result))


if __name__ == "__main__":
    run(main, parser())
