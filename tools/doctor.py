"""Check data sets, or a training configuration and its sets, before hours are spent on them.

python tools/doctor.py coco:ANNOTATIONS.json:PICTURES
python tools/doctor.py coco:TRAIN.json:PICTURES coco:VAL.json:PICTURES          # leaks between them, too
python tools/doctor.py voc:VOCdevkit/VOC2007:trainval --repair repaired
python tools/doctor.py folder:data/imagenet --quick
python tools/doctor.py --config configs/voc07_frcnn_r50.yaml optim.batch_size=4

Exit status: 0 clean, 1 errors or warnings, 2 the check itself was not possible.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import run


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument(
        "sets",
        nargs="*",
        metavar="SET | key=value",
        help="coco:ANNOTATIONS.json[:PICTURE_FOLDER], voc:DEVKIT/VOC<year>:<split> or folder:DIR; with "
        "--config changes to the configuration",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a configuration of tools/train_det.py")
    parser.add_argument("--quick", action="store_true", help="read headers of pictures, do not decode them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything found")
    parser.add_argument(
        "--repair",
        type=Path,
        metavar="OUT",
        help="write repaired annotations: a new JSON file of a COCO set, a new devkit folder of a VOC split",
    )
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="threads reading pictures (default: 2)"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    from doctor.diagnosis import diagnose
    from foundation.errors import UserError

    with_config = arguments.config is not None
    if arguments.workers < 1:
        raise UserError(f"--workers must be 1 or more, got {arguments.workers}")
    if not with_config and not arguments.sets:
        raise UserError("nothing to check: name a set, for instance coco:ANNOTATIONS.json, or --config FILE")
    clean = diagnose(
        [] if with_config else arguments.sets,
        config=arguments.config,
        overrides=arguments.sets if with_config else [],
        quick=arguments.quick,
        json_file=arguments.json,
        repair=arguments.repair,
        workers=arguments.workers,
    )
    if not clean:
        sys.exit(1)


if __name__ == "__main__":
    run(main, parser())
