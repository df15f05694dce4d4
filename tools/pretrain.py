"""Pretrains a classifier: Shapes, CIFAR-10 or ImageNet-style folders, as the configuration says."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from training.command import build_parser, run


def parser() -> ArgumentParser:
    return build_parser(
        __doc__,
        keys="classification.config:PretrainConfig",
        config_default=str(ROOT / "configs" / "shapes_r18.yaml"),
    )


def main(arguments: Namespace) -> None:
    # Here, not above: these import torch, and --help must not wait for it.
    from classification.config import PretrainConfig
    from classification.pretrain import pretrain
    from training.config import load_config

    config = load_config(PretrainConfig, arguments.config, arguments.overrides)
    out = arguments.out or Path("runs") / arguments.config.stem
    pretrain(config, out, resume=arguments.resume, overwrite=arguments.overwrite)


if __name__ == "__main__":
    run(main, parser())
