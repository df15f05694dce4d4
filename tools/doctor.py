"""Check data sets, or a training configuration and its sets, before hours are spent on them.

python tools/doctor.py coco:ANNOTATIONS.json:PICTURES
python tools/doctor.py coco:TRAIN.json:PICTURES coco:VAL.json:PICTURES          # leaks between them, too
python tools/doctor.py yolo:MY_SET                # all splits of a set in any layout; coco:…, voc:… likewise
python tools/doctor.py MY_SET                     # the kind is guessed from the files, and said
python tools/doctor.py yolo:MY_SET:train --write-coco train.json
python tools/doctor.py coco:MY_SET --write-yolo my_yolo_set
python tools/doctor.py voc:VOCdevkit/VOC2007:trainval --repair repaired
python tools/doctor.py folder:data/imagenet --quick
python tools/doctor.py segmentation:folder:MY_SET:train                         # pictures and masks
python tools/doctor.py --config configs/voc07_frcnn_r50.yaml optim.batch_size=4

Exit status: 0 clean, 1 errors or warnings, 2 the check itself was not possible.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__, keys="detection.config:DetectionConfig")
    add = parser.add_argument
    text = (
        "KIND:ROOT[:SPLIT], KIND as data.kind; coco:ANNOTATIONS.json[:PICTURE_FOLDER], "
        "voc:DEVKIT/VOC<year>:<split>, folder:DIR or segmentation:KIND:ROOT[:SPLIT]; with --config "
    )
    add("sets", nargs="*", metavar="SET | key=value", help=f"{text}changes to the configuration")
    add("--config", type=Path, metavar="FILE", help="a configuration of tools/train_det.py")
    add("--quick", action="store_true", help="read headers of pictures, do not decode them")
    add("--json", dest="json_file", type=Path, metavar="FILE", help="write everything found")
    text = "write repaired annotations: a new JSON file of a COCO set, a new devkit folder of a VOC split"
    add("--repair", type=Path, metavar="OUT", help=text)
    text = "write one split as a COCO file"
    add("--write-coco", dest="coco", type=Path, metavar="OUT", help=text)
    text = "write the sets into a folder with data.yaml, images/ and labels/"
    add("--write-yolo", dest="yolo", type=Path, metavar="OUT", help=text)
    add("--workers", type=int, default=2, metavar="N", help="threads reading pictures (default: 2)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from doctor.diagnosis import diagnose

    options = vars(arguments)
    if arguments.config is not None:
        options |= {"sets": [], "overrides": arguments.sets}
    if not diagnose(**options):
        sys.exit(1)


if __name__ == "__main__":
    run(main, parser())
