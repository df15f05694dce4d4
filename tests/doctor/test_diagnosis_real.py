"""Real sets, where every finding was looked at and is true."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path


def worse_and_few(findings: list) -> dict[str, int]:
    counts = Counter(finding.check for finding in findings)
    return {check: n for check, n in counts.items() if check not in ("rare_category", "class_counts")}


def test_coco(real_data: Path, diagnosis: Callable):
    folder = real_data / "coco" / "annotations"
    found = diagnosis(*(f"coco:{folder / f'instances_{split}2017.json'}" for split in ("train", "val")))
    expected = {"grey_picture": 2, "no_objects": 1, "unused_category": 19, "category_gap": 2, "crowd": 13}
    assert worse_and_few(found) == expected


def test_penn_fudan(real_data: Path, diagnosis: Callable):
    folder = real_data / "PennFudanPed"
    sets = [f"coco:{folder}/annotations/instances_{s}.json:{folder}/images" for s in ("train", "val")]
    assert worse_and_few(diagnosis(*sets)) == {}


def test_voc(real_data: Path, diagnosis: Callable):
    devkit = real_data / "VOCdevkit"
    found = diagnosis(*(f"voc:{devkit}/{name}:trainval" for name in ("VOC2007", "VOC2012")))
    # VOC2012 holds photographs of VOC2007 under the same numbers, saved in another quality.
    leaks = {(f.check, f.where, f.detail.split(" voc:")[0].split()[-2]) for f in found if "leak" in f.check}
    numbers = ("000515", "000793", "001185")
    assert leaks == {("near_leak", f"2007_{number}", number) for number in numbers}
    assert worse_and_few(found).keys() <= {"near_leak", "difficult", "unused_category"}
