"""Loader, doctor and scorer agree on which mutated files are legal.

`ANNOTATION_CASES=10000` tries as many files of each kind; every run of the suite tries a few hundred.
"""

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detection.data.coco_dataset import CocoDataset
from detection.data.voc_dataset import VocDataset, VocSplit
from detection.metrics.coco_ap import evaluate
from detection.results.evaluation import score_predictions
from doctor.survey import Survey
from doctor.survey_readers import survey_coco, survey_voc
from foundation.errors import UserError
from pictures.annotations.coco_split import CocoSplit

CASES = int(os.environ.get("ANNOTATION_CASES", "600"))
NUMBERS: list[Any] = [0, 1, 2, 3, 4, -1, 0.5, 1.0, 4.0, 6.0, 1e9, 2e9, 1e300, -1e300, 2**31, 2**40, 2**70]
NAN, INF = float("nan"), float("inf")
VALUES = [
    *NUMBERS,
    NAN,
    INF,
    True,
    False,
    None,
    "",
    "0",
    "1",
    "no",
    "a\0",
    "\ud800",
    [],
    [0],
    [1, 2, 3, 4],
    {},
]
OUTLINES = [
    [[1, 0, 4, 0, 4, 2]],
    [[1, 0, 4, 0]],
    [[1, 0, 1e9, 0, 4, 2]],
    [[1, 0, NAN, 0, 4, 2]],
    [[1, 0, True, 0, 4, 2], [1]],
    [1, 0, 4, 0, 4, 2],
    {"size": [4, 6], "counts": [8, 4, 12]},
    {"size": [4.0, 6], "counts": [8.0, 4, 12]},
    {"size": [4, 6], "counts": [8, 4, 13]},
    {"size": [4, 6], "counts": "84<"},
    {"size": [4, 6], "counts": "\ud800"},
]
BASE: dict[str, Any] = {
    "images": [{"id": n, "file_name": f"{n}.jpg", "height": 4, "width": 6} for n in (1, 2)],
    "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
    "annotations": [
        {"id": n, "image_id": 1, "category_id": 3, "bbox": [1, 0, 3, 2], "area": 6, "iscrowd": 0}
        | {"segmentation": [[1, 0, 4, 0, 4, 2, 1, 2]]}
        for n in (1, 2, 3)
    ],
}
SIDES = ("xmin", "ymin", "xmax", "ymax")
TEXTS = ["", "0", "1", "1.0", "2", "true", "no", "nan", "inf", "1e300", "-1", "1_0", "6", "6.5", "600", "cat"]


def mutated(rng: random.Random) -> dict[str, Any]:
    """A COCO file with one to three odd values, missing fields or entries that stand twice."""
    content = copy.deepcopy(BASE)
    for _ in range(rng.randint(1, 3)):
        section = rng.choice(["images", "categories", "annotations", "annotations", "annotations"])
        entries = content.get(section)
        if (
            not entries
            or not isinstance(entries, list)
            or not all(isinstance(e, dict) and e for e in entries)
        ):
            continue
        entry = rng.choice(entries)
        field, kind = rng.choice(sorted(entry)), rng.random()
        if kind < 0.02:
            content[section] = rng.choice(VALUES)
        elif kind < 0.05:
            entries.append(rng.choice([entry, *VALUES]))
        elif kind < 0.12:
            del entry[field]
        elif field == "segmentation":
            entry[field] = rng.choice([*OUTLINES, *VALUES])
        elif field == "bbox" and isinstance(entry[field], list) and len(entry[field]) == 4 and kind < 0.8:
            entry[field] = [*entry[field]]
            entry[field][rng.randrange(4)] = rng.choice(VALUES)
        else:
            entry[field] = rng.choice(VALUES)
    return content


def accepts(read: Callable[[], Any]) -> bool:
    """Whether a reader takes its file; nothing but a UserError may come instead."""
    try:
        read()
    except UserError:
        return False
    return True


def errors(survey: Survey) -> set[str]:
    return {finding.check for finding in survey.findings if finding.severity == "error"}


def test_coco(tmp_path: Path):
    rng, file, found = random.Random(15), tmp_path / "a.json", tmp_path / "found.json"
    found.write_text("[]")
    legal = masked = 0
    for case in range(CASES):
        content = mutated(rng)
        file.write_text(json.dumps(content))
        survey = survey_coco(CocoSplit(file, tmp_path))
        sound = not errors(survey) - {"damaged_segmentation"}
        said = {
            "loader": accepts(lambda: CocoDataset(file, tmp_path)),
            "scorer": accepts(lambda: score_predictions([str(found)], f"coco:{file}")),
        }
        assert said == dict.fromkeys(said, sound), (case, content, survey.findings)
        legal += sound
        if not sound or not any(entry.get("segmentation") for entry in content["annotations"]):
            continue
        whole = not {f.check for f in survey.findings} & {"damaged_segmentation", "missing_segmentation"}
        said = {
            "loader": accepts(lambda: masks_of(CocoDataset(file, tmp_path, masks=True))),
            "scorer": accepts(lambda: evaluate(file, [], "segm")),
        }
        assert said == dict.fromkeys(said, whole), (case, content, survey.findings)
        masked += whole
    assert CASES / 10 < legal < CASES / 2 and CASES / 20 < masked < legal


def masks_of(dataset: CocoDataset) -> list[Any]:
    """Every mask of a data set, drawn."""
    targets = [dataset.load_target(index) for index in range(len(dataset))]
    return [t.mask(row) for t in targets if t.mask is not None for row in range(len(t.boxes))]


def xml(rng: random.Random) -> str:
    """A VOC annotation with one to three odd texts, or elements left out."""
    fields = {"width": "6", "height": "4", "name": "cat", "difficult": "0"}
    fields |= dict(zip(SIDES, ("1", "1", "4", "3"), strict=True))
    for _ in range(rng.randint(1, 3)):
        fields[rng.choice(sorted(fields))] = rng.choice(TEXTS)
    texts = {name: f"<{name}>{text}</{name}>" for name, text in fields.items() if rng.random() > 0.02}
    size, box = ("".join(texts.get(n, "") for n in names) for names in (("width", "height"), SIDES))
    named = texts.get("name", "") + texts.get("difficult", "")
    return f"<annotation><size>{size}</size><object>{named}<bndbox>{box}</bndbox></object></annotation>"


def test_voc(tmp_path: Path):
    rng, found, folder = random.Random(15), tmp_path / "found.json", tmp_path / "VOCdevkit" / "VOC2007"
    split = VocSplit(folder, "train")
    for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / part).mkdir(parents=True)
    found.write_text("[]")
    split.list_file.write_text("a\n")
    legal = 0
    for case in range(CASES):
        text = xml(rng)
        split.annotation_file("a").write_text(text)
        survey = survey_voc(split)
        said = {
            "loader": accepts(lambda: VocDataset(split.folder.parent, [(split.year, split.name)]).targets),
            "scorer": accepts(lambda: score_predictions([str(found)], f"voc:{folder}:train")),
        }
        assert said == dict.fromkeys(said, not errors(survey)), (case, text, survey.findings)
        legal += said["loader"]
    assert CASES / 20 < legal < CASES / 2
