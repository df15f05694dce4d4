"""Generates Shapes in the layout of ILSVRC: scenes of several classes for DET, of one for CLS-LOC."""

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from detection.data.annotation_writers import voc_annotation
from detection.data.shapes_scenes import SEED, SPLITS, Scene, Shape, draw_scene
from detection.imagenet.ilsvrc_places import IlsvrcPlaces, part_of
from detection.imagenet.ilsvrc_split import form_of
from pictures.shapes import CLASSES, Placement, draw_picture, generated_folder, random_placement, stamp_of

LOC_SPLITS = {"train": 400, "val": 200, "test": 20}
DET_SPLITS = {**SPLITS, "test": 20}
# Made up, and in another order than the numbers 1…10 of the classes, as the devkit's are.
WNIDS = [f"n9{(7 * index + 3) % len(CLASSES)}000000" for index in range(len(CLASSES))]
LEFT_OUT = (5, 17)  # pictures of CLS-LOC's val on the blacklist, 1 is the first
_LOC_PICTURES = 100_000  # added to their numbers, which seed them, so that none is one of DET's
_PARTLY = 10  # every so many training scenes of DET one object is not annotated


def ensure_ilsvrc(root: Path) -> Path:
    """Writes both tasks below `root` unless they are there, a few seconds; gives their root, root/ILSVRC."""
    return generated_folder(root / "ILSVRC", stamp_of(SEED, CLASSES), write_ilsvrc)


def write_ilsvrc(folder: Path) -> None:
    """Annotations, Data, ImageSets and devkit/data of DET and of CLS-LOC."""
    (folder / "devkit" / "data").mkdir(parents=True)
    _write_det(IlsvrcPlaces(folder, "DET"))
    _write_loc(IlsvrcPlaces(folder, "CLS-LOC"))


def _write_det(places: IlsvrcPlaces) -> None:
    splits = [split for split, pictures in DET_SPLITS.items() for _ in range(pictures)]
    drawn = [draw_scene(number, split) for number, split in enumerate(splits, start=1)]
    named = [(_det_name(scene), scene) for scene in drawn]
    for name, scene in named:
        _write_picture(places, name, scene, scene.shapes[:-1] if _is_partial(scene) else scene.shapes)
    of_split = {split: [(n, scene) for n, scene in named if scene.split == split] for split in DET_SPLITS}
    for number in range(1, len(CLASSES) + 1):
        lines = [f"{name} {_training_label(scene, number - 1)}" for name, scene in of_split["train"]]
        _write_lines(places.lists / f"train_{number}.txt", lines)
    for split in ("val", "test"):
        _write_lines(places.list_file(split), _numbered([name for name, _ in of_split[split]]))
    val = of_split["val"]
    halves = {"val1": val[::2], "val2": val[1::2]}
    numbers = {name: number for number, (name, _) in enumerate(val, start=1)}
    blacklist = []
    for split, half in halves.items():
        _write_lines(places.list_file(split), [f"{name} {numbers[name]}" for name, _ in half])
        name, scene = next((name, scene) for name, scene in half if scene.shapes)
        blacklist.append(f"{numbers[name]} {WNIDS[scene.shapes[0].label]}")
    _write_lines(places.devkit_file("blacklist"), blacklist)
    _write_classes(places)


def _det_name(scene: Scene) -> str:
    """As the archive calls its pictures: those of 2013 in folders of classes, of 2014 in numbered ones."""
    number = int(scene.name)
    if scene.split != "train":
        return f"ILSVRC2012_{scene.split}_{number:08d}"
    if number % 2 and scene.shapes:
        wnid = WNIDS[scene.shapes[0].label]
        return f"ILSVRC2013_train/{wnid}/{wnid}_{number}"
    return f"ILSVRC2014_train_0000/ILSVRC2014_train_{number:08d}"


def _is_partial(scene: Scene) -> bool:
    return scene.split == "train" and int(scene.name) % _PARTLY == 0 and len(scene.shapes) > 1


def _training_label(scene: Scene, label: int) -> int:
    """1 if all objects of the class are annotated, 0 if some are not, −1 if there is none."""
    if label not in [shape.label for shape in scene.shapes]:
        return -1
    return 0 if _is_partial(scene) and scene.shapes[-1].label == label else 1


def _write_loc(places: IlsvrcPlaces) -> None:
    names: Mapping[str, list[str]] = {split: [] for split in LOC_SPLITS}
    truth = []
    for split, pictures in LOC_SPLITS.items():
        for number in range(1, pictures + 1):
            scene = draw_loc_scene(number, split)
            wnid, label = WNIDS[scene.shapes[0].label], scene.shapes[0].label
            name = f"{wnid}/{wnid}_{number}" if split == "train" else f"ILSVRC2012_{split}_{number:08d}"
            names[split].append(name)
            truth += [str(label + 1)] if split == "val" else []
            _write_picture(places, name, scene, scene.shapes)
    for split, listed in names.items():
        _write_lines(places.list_file(split), _numbered(sorted(listed)))
    _write_lines(places.devkit_file("ground_truth"), truth)
    _write_lines(places.devkit_file("blacklist"), list(map(str, LEFT_OUT)))
    _write_classes(places)


def draw_loc_scene(number: int, split: str) -> Scene:
    """128 to 200 pixels a side, one to three shapes of one class, of any size and anywhere."""
    label = number % len(CLASSES)
    for attempt in count():
        first = _LOC_PICTURES * (1 + list(LOC_SPLITS).index(split))
        rng = np.random.default_rng([SEED, first + number, attempt])
        height, width = (int(side) for side in rng.integers(128, 201, 2))
        placements: list[Placement] = []
        wanted = int(rng.integers(1, 4))
        for _ in range(10 * wanted):
            if len(placements) == wanted:
                break
            radius = rng.uniform(12, 0.48 * min(height, width) / wanted**0.5)
            x, y = rng.uniform(0.8 * radius, np.array([width, height]) - 0.8 * radius)
            if all(np.hypot(x - p.x, y - p.y) > radius + p.radius for p in placements):
                placements.append(random_placement(rng, x, y, radius, [CLASSES[label]]))
        image, whole, visible = draw_picture(rng, height, width, placements)
        shares = visible.sum(axis=(1, 2)) / np.maximum(1, whole.sum(axis=(1, 2)))
        if (shares >= 0.25).all():  # else something hides a shape of the picture's class
            shapes = [Shape(label, mask, difficult=False) for mask in visible]
            return Scene(f"{number:06d}", split, image, shapes)
    raise AssertionError("count never ends")


def _write_picture(places: IlsvrcPlaces, name: str, scene: Scene, shapes: Sequence[Shape]) -> None:
    """The picture, and its annotation where there is anything to annotate and the split publishes it."""
    picture = places.image_path(scene.split, name)
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.image).save(picture, quality=90)
    if scene.split == "test" or (scene.split == "train" and not shapes):
        return
    file = places.annotation_file(scene.split, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    objects = [(WNIDS[shape.label], shape.box, False) for shape in shapes]
    height, width, channels = scene.image.shape
    folder = name.rpartition("/")[0] or part_of(scene.split)
    annotation = voc_annotation(
        folder, picture.stem, (height, width, channels), objects, form_of(places.task)
    )
    for node in annotation.findall("object"):  # the challenge knows no difficult objects
        node.remove(node.find("difficult"))  # type: ignore[arg-type]
    annotation.write(file)


def _write_classes(places: IlsvrcPlaces) -> None:
    """The classes by number, which is not the order of their WordNet ids."""
    named = enumerate(zip(WNIDS, CLASSES, strict=True), start=1)
    _write_lines(places.synsets, [f"{wnid} {number} {name}" for number, (wnid, name) in named])


def _numbered(names: Sequence[str]) -> list[str]:
    return [f"{name} {number}" for number, name in enumerate(names, start=1)]


def _write_lines(file: Path, lines: Sequence[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))
