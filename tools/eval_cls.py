"""Score a classifier's weights on the validation data of its training, as their header says.

python tools/eval_cls.py --weights runs/cifar10_r20/last.safetensors
python tools/eval_cls.py --weights FILE --out DIR data.val_split=test run.device=cpu
python tools/eval_cls.py --weights FILE --out DIR --reestimate-bn 100   # writes DIR/reestimated.safetensors
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.command import run


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights", required=True, type=Path, metavar="FILE", help="weights of tools/pretrain.py"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for result.json (default: nothing is written)"
    )
    parser.add_argument(
        "--reestimate-bn",
        type=int,
        metavar="N",
        help="first estimate the statistics of batch normalisation anew from N batches of 100 training "
        "pictures, and with --out write the weights with them (He et al. 2015, appendix A: before detection)",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the training configuration")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from classification.score import describe, score_weights
    from engine.distributed import is_main
    from engine.errors import UserError

    batches = arguments.reestimate_bn
    if batches is not None and batches < 1:
        raise UserError(f"--reestimate-bn must be 1 or more batches, got {batches}")
    result = score_weights(arguments.weights, arguments.overrides, arguments.out, reestimate=batches or 0)
    if is_main():
        print(describe(result))


if __name__ == "__main__":
    run(main, parser())
