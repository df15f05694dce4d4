"""Fine-tune a detector: as a configuration says, or a set of your own by a recipe that follows from the set.

python tools/train_det.py data.kind=yolo data.root=my_set      # the log says what was chosen, and why
python tools/train_det.py --config configs/coco_frcnn_r50.yaml
python tools/train_det.py                                      # the generated set Shapes
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from training.command import build_parser, run


def parser() -> argparse.ArgumentParser:
    return build_parser(__doc__, keys="detection.config:DetectionConfig")


def main(arguments: argparse.Namespace) -> None:
    from detection.config import DetectionConfig
    from detection.recipes.recipe import is_own_set, train_own_set
    from detection.train import finetune
    from training.config import load_config

    existing = {"resume": arguments.resume, "overwrite": arguments.overwrite}
    if arguments.config is None and is_own_set(arguments.overrides):
        train_own_set(arguments.overrides, arguments.out, **existing)
        return
    file = arguments.config or ROOT / "configs" / "shapes_frcnn_r18.yaml"
    config = load_config(DetectionConfig, file, arguments.overrides)
    finetune(config, arguments.out or Path("runs") / file.stem, **existing)


if __name__ == "__main__":
    run(main, parser())
