"""Fine-tune one network from pretrained weights, with and without freezing, and from scratch, and compare.

python tools/transfer.py --config configs/voc07_frcnn_r18.yaml --weights r18.safetensors
python tools/transfer.py --config configs/pennfudan_deeplabv3_r18.yaml --weights r18.safetensors

The configuration is a detector's or one of semantic segmentation, whose keys tools/train_seg.py lists. The
start "pretrained" is the configuration's own; "pretrained_unfrozen" trains every stage and the normalisation,
as "scratch" does, so that these two differ in the weights alone. It is left out where nothing is frozen
anyway. Each difference comes with its 95 % interval over the choice of pictures.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from training.command import build_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = build_parser(
        __doc__,
        keys="detection.config:DetectionConfig",
        config_default=str(ROOT / "configs/shapes_frcnn_r18.yaml"),
    )
    add = parser.add_argument
    add("--weights", required=True, metavar="FILE", help="backbone weights of the pretrained runs")
    add("--seeds", type=int, default=3, metavar="N", help="runs of each start (default: 3)")
    text = "so many runs at once, each on its share of the CPU's cores (default: 1)"
    add("--processes", type=int, default=1, metavar="N", help=text)
    return parser


def main(arguments: argparse.Namespace) -> None:
    from reproduction.results.paired_groups import told
    from reproduction.transfer.start_comparison import compare, load_for_task

    starts, config = load_for_task(arguments.config, arguments.overrides)
    out = arguments.out or Path("runs") / f"{arguments.config.stem}_transfer"
    flags = {name: getattr(arguments, name) for name in ("resume", "overwrite", "processes")}
    found = compare(starts, config, arguments.weights, arguments.seeds, out, **flags)
    if found is not None:
        say(told(found))


if __name__ == "__main__":
    run(main, parser())
