"""Measure why a network works: on any classifier's weights, several together, on any pictures.

python tools/analyze.py responses --weights runs/cifar10_r56/last.safetensors --out runs/responses
python tools/analyze.py lesion --weights A.safetensors B.safetensors data.kind=cifar10 data.val_split=test

responses   standard deviations of the outputs of all 3x3 layers (He et al. 2015, Figure 7)
signal      what shortcuts and residuals carry, forward and back (He et al. 2016)
lesion      errors without one block, without several, with blocks swapped (Veit et al. 2016)
paths       gradient along paths of each length (Veit et al. 2016)
gradients   autocorrelation of gradients from picture to picture (Balduzzi et al. 2017); without --weights
            the one-dimensional experiment of that paper
similarity  linear CKA of all layers, of each network with itself and with every other (Kornblith et al. 2019)
surface     loss on a plane through the weights, along random directions (Li et al. 2018)
receptive   theoretical and effective receptive fields (Luo et al. 2016); with --config of a random detector,
            and with a detector's weights, beside its anchors
heatmap     Grad-CAM and guided backpropagation of a classifier's answers (Selvaraju et al. 2017)

Options are described in docs/analysis.md.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__, keys="reproduction.analysis_config:AnalyzeConfig")
    add = parser.add_argument
    add("analysis", help="one of the names above")
    add(
        "--weights",
        nargs="+",
        default=[],
        metavar="FILE",
        help="classifiers' weight files; of responses also train_seg.py's, of receptive also detectors'",
    )
    text = "of receptive: configurations of detectors"
    add("--config", nargs="+", default=[], metavar="FILE", help=text)
    add("--out", type=Path, metavar="DIR", help="folder for the results (default: runs/analysis/NAME)")
    add("overrides", nargs="*", metavar="key=value", help="pictures and options, as run.device=cpu")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from reproduction.analyze import analyze, describe_analysis

    # Behind --weights and --config argparse takes key=value for files.
    given = [*arguments.weights, *arguments.config]
    overrides = [name for name in given if "=" in name and not Path(name).exists()]
    weights = [Path(name) for name in arguments.weights if name not in overrides]
    configs = [Path(name) for name in arguments.config if name not in overrides]
    overrides += arguments.overrides
    out = arguments.out or Path("runs", "analysis", arguments.analysis)
    say(describe_analysis(analyze(arguments.analysis, weights, out, overrides, configs)))
    say(f"{out} holds result.json, the figures and the arrays")


if __name__ == "__main__":
    run(main, parser())
