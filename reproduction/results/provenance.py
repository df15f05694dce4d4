"""By which command, on which machine and with which release of torch a report was made."""

import os
import platform
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
PROCESSORS = Path("/proc/cpuinfo")  # of Linux
CONTINUING = ("--resume", "--overwrite")  # say what becomes of what is there, not what was run


@dataclass(frozen=True)
class Made:
    """Where a report's numbers come from; None is what is not known."""

    command: str | None
    machine: str | None
    torch: str | None


def made_here() -> Made:
    """By the command line of this process, as given in the repository's root, without `CONTINUING`."""
    file, *arguments = sys.argv
    if ROOT in Path(file).parents:
        file = Path(file).relative_to(ROOT).as_posix()
    words = ["python", file, *(word for word in arguments if word not in CONTINUING)]
    return Made(shlex.join(words), describe_machine(), torch.__version__)


def describe_machine() -> str:
    """As "2 cores of an AMD EPYC (AVX512)", with the names of its GPUs before them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    instructions = torch.backends.cpu.get_cpu_capability()
    processor = f"CPU {processor_name()} ({instructions}), cores: {cores}"
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return ", ".join([*names, processor])


def processor_name() -> str:
    """As the operating system calls it."""
    if PROCESSORS.is_file():
        for line in PROCESSORS.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
