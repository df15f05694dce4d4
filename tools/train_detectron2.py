"""Train and evaluate a detector of detectron2 on one of our backbones; options as in its train_net.py."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from foundation.errors import UserError
from training.command import new_parser, run


def parser() -> argparse.ArgumentParser:
    default = ROOT / "configs/detectron2/shapes_frcnn_r18_fpn.yaml"
    parser = new_parser(__doc__)
    parser.add_argument("--config-file", default=str(default), metavar="FILE", help=f"default: {default}")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR")
    add = parser.add_argument
    add("--eval-only", action="store_true", help="of MODEL.WEIGHTS, or with --resume the last")
    add("--num-gpus", type=int, default=1, help="of each machine; one process each; a CPU needs none")
    add("--num-machines", type=int, default=1, help="start this command on each of them")
    add("--machine-rank", type=int, default=0, help="of this machine, from 0")
    add("--dist-url", default="auto", metavar="URL", help="tcp://<machine 0>:<port>; auto for one machine")
    add("opts", nargs="*", metavar="KEY VALUE", help="for instance SOLVER.MAX_ITER 100")
    return parser


def main(arguments: argparse.Namespace) -> None:
    try:
        from detectron2.engine import launch
    except ModuleNotFoundError as error:
        raise UserError(f"{error}; docs/detectron2.md says how to install detectron2") from error
    machines, rank, url = arguments.num_machines, arguments.machine_rank, arguments.dist_url
    if machines > 1 and url == "auto":
        raise UserError("--num-machines needs --dist-url tcp://<machine 0>:<port>, the same on each machine")
    launch(work, arguments.num_gpus, machines, rank, dist_url=url, args=(arguments,))


def work(arguments: argparse.Namespace) -> None:
    from detectron2.config import get_cfg
    from detectron2.engine import default_setup

    from backbones.adapters.detectron2 import add_backbone_config
    from backbones.adapters.detectron2_training import train_or_evaluate

    cfg = get_cfg()
    add_backbone_config(cfg)
    cfg.merge_from_file(arguments.config_file)
    cfg.merge_from_list(arguments.opts)
    cfg.freeze()
    default_setup(cfg, arguments)
    if any(name.startswith("shapes_") for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)):
        register_shapes()
    train_or_evaluate(cfg, resume=arguments.resume, eval_only=arguments.eval_only)


def register_shapes() -> None:
    from detectron2.data.datasets import register_coco_instances

    from detection.data.dataset_splits import DataConfig, locate_splits
    from detection.data.shapes_scenes import SPLITS

    for split in SPLITS:
        annotations, pictures = map(str, locate_splits(DataConfig(kind="shapes"), split)[0])
        register_coco_instances(f"shapes_{split}", {}, annotations, pictures)


if __name__ == "__main__":
    run(main, parser())
