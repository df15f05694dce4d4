"""A batch finds the memory of the batch before."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import argparse, resource, sys
import torch
from training.command import run

def faults(step):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def step():
    # By default glibc fetches each block of more than 32 MB anew.
    kept = [torch.ones(size) for size in (2_500_000, 10_000_000, 2_500_000)]

def main(arguments):
    for _ in range(10):  # until no small block that stays is in the way of the large ones
        step()
    print(faults(step))

sys.argv[1:] = []
if %r:
    run(main, argparse.ArgumentParser())
else:
    main(None)
"""
PAGES = 60_000_000 // 4096


def page_faults(kept: bool) -> int:
    command = [sys.executable, "-c", COUNT % kept]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's setting")
def test_commands_keep_the_memory_that_tensors_free():
    assert page_faults(kept=True) < PAGES / 100
    assert page_faults(kept=False) > PAGES / 2
