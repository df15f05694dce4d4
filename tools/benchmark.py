"""Time networks, training and evaluation beside torchvision, timm and pycocotools, in turn in one process."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import new_parser, run, say


def parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    parts = """analysis, annotations, appendix_b, backbones, cifar, classification, detectors, evaluation,
        inference, localization, memory, pictures, roofline, scale, segmentation, start"""
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{parts} (default: all)")
    text = "for the rounds of a row, of which there are 3 at least and 15 at most (default: 3)"
    parser.add_argument("--seconds", type=float, default=3, metavar="N", help=text)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    text = (
        "JSON file of all rounds, written anew after each part; docs/benchmarks.md is drawn from such a file"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help=text)
    return parser


def main(arguments: argparse.Namespace) -> None:
    from benchmarks.benchmark import PARTS, benchmark
    from benchmarks.measuring.speed_records import new_record
    from foundation.errors import UserError, suggest
    from training.devices import resolve_device

    if not arguments.seconds >= 0:
        raise UserError(f"--seconds must be 0 or more, got {arguments.seconds}")
    for part in arguments.parts:
        if part not in PARTS:
            raise UserError(f"there is no part {part!r} to time{suggest(part, PARTS)}")
    device, record = resolve_device(arguments.device).type, new_record()
    say(record.conditions())
    for name, part in benchmark(arguments.seconds, device, arguments.parts or tuple(PARTS)):
        record.parts[name] = part
        if arguments.out is not None:
            record.save(arguments.out)
        say(f"\n## {name}: {part.seconds:.0f} s, {part.set_up:.0f} of them to set up\n\n{part.markdown()}")
    say(f"\n{sum(part.seconds for part in record.parts.values()) / 60:.1f} minutes in all")


if __name__ == "__main__":
    run(main, parser())
