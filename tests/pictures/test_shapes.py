import json
import logging
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pictures.shapes import (
    CLASSES,
    FEW_CLASSES,
    OUTLINES,
    Placement,
    blend,
    coverage,
    draw_picture,
    generated_folder,
    random_colour,
    random_placement,
    read_stamp,
    scatter_clutter,
)


def at(name: str, x: float = 50, y: float = 40, radius: float = 30, angle: float = 0, aspect: float = 1):
    return Placement(CLASSES.index(name), x, y, radius, angle, aspect)


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("square", 1.5 * 1.5),
        ("bar", 2 * 0.6),
        ("disc", np.pi * 0.85**2),
        ("ring", np.pi * (0.95**2 - 0.55**2)),
        ("triangle", 1.74 * 1.5 / 2),
        ("cross", 4 * 0.65 * 0.6 + 0.6 * 0.6),  # four arms of 0.65 x 0.6 around a square of 0.6
        ("arrow", 1.0 * 0.5 + 1.4 * 0.9 / 2),  # a shaft of 1 x 0.5 and a head of 0.9 x 1.4
    ],
)
@pytest.mark.parametrize("angle", [0, 0.7])
def test_areas_by_hand(name: str, area: float, angle: float):
    # In units of the radius, 30 pixels.
    covered = coverage(at(name, angle=angle), 80, 100)
    assert covered.shape == (80, 100)
    assert covered.sum() / 30**2 == pytest.approx(area, rel=0.04)


def test_place_turn_and_stretch():
    # A bar is 2 x 0.6 radii: at radius 20 it lies from x 30 to 70, y 34 to 46; turned, it stands.
    lying = coverage(at("bar", radius=20), 80, 100) >= 0.5
    assert extent(lying) == pytest.approx((30, 34, 70, 46), abs=1)
    standing = coverage(at("bar", radius=20, angle=np.pi / 2), 80, 100) >= 0.5
    assert extent(standing) == pytest.approx((44, 20, 56, 60), abs=1)
    flat = coverage(at("bar", radius=20, aspect=0.5), 80, 100) >= 0.5
    assert extent(flat) == pytest.approx((30, 37, 70, 43), abs=1)


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    y, x = np.nonzero(mask)
    return x.min(), y.min(), x.max() + 1, y.max() + 1


def test_outlines_lie_in_the_unit_circle_and_differ():
    masks = [coverage(at(name), 80, 100) for name in CLASSES]
    for name in CLASSES:
        assert np.hypot(*np.array(OUTLINES[name][0]).T).max() <= 1.2, name
    assert len({mask.tobytes() for mask in masks}) == len(CLASSES) == 10
    assert sorted(CLASSES) == CLASSES  # label = place among the sorted folder names, as ImageFolder counts


def test_shapes_outside_the_picture_cover_nothing():
    assert coverage(at("disc", x=500), 80, 100).sum() == 0
    cover, image = np.zeros((4, 5)), np.full((4, 5, 3), 7.0)
    blend(image, cover, lambda height, width: np.zeros((height, width, 3)))
    assert (image == 7).all()


def test_blend_mixes_by_coverage():
    # 0.25 of 200 over 100: 100 + 0.25 x (200 - 100) = 125.
    image, cover = np.full((4, 5, 3), 100.0), np.zeros((4, 5))
    cover[1, 2:4] = (0.25, 1)
    blend(image, cover, lambda height, width: np.full((height, width, 3), 200.0))
    assert image[1, :, 0].tolist() == [100, 100, 125, 200, 100]
    assert (image[[0, 2, 3]] == 100).all()


def test_colours_keep_to_their_range():
    rng = np.random.default_rng(0)
    colours = np.stack([random_colour(rng, 110, 245) for _ in range(200)])
    assert colours.shape == (200, 3)
    assert 110 <= colours.min() < 115 and 240 < colours.max() <= 245


def test_shapes_are_lighter_than_their_ground():
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(20):
        image, whole, visible = draw_picture(rng, 64, 64, [random_placement(rng, 32, 32, 20)])
        differences.append(image[visible[0]].mean() - image[~whole[0]].mean())
    assert np.mean(differences) > 40


def test_clutter_says_where_it_covers():
    image = np.full((60, 70, 3), -1.0)
    covered = scatter_clutter(np.random.default_rng(0), image, 5)
    assert 0 < (covered > 0).sum() < covered.size
    assert np.array_equal(covered > 0, (image != -1).any(axis=2))
    assert scatter_clutter(np.random.default_rng(0), image, 0).sum() == 0


def test_later_shapes_hide_earlier_ones():
    placements = [at("disc"), at("square", x=65), at("star", x=60)]
    _, whole, visible = draw_picture(np.random.default_rng(0), 80, 100, placements)
    assert whole.shape == visible.shape == (3, 80, 100)
    assert not (visible & ~whole).any()
    assert visible.sum(axis=0).max() == 1
    assert not (visible[0] & (whole[1] | whole[2])).any()
    assert not (visible[1] & whole[2]).any()
    assert all(mask.any() for mask in visible)


def test_picture_without_shapes():
    image, whole, visible = draw_picture(np.random.default_rng(0), 40, 50, [])
    assert (image.shape, image.dtype, whole.shape, visible.shape) == (
        (40, 50, 3),
        np.uint8,
        (0, 40, 50),
        (0, 40, 50),
    )


def test_the_generator_fixes_every_pixel():
    one, again, other = (
        draw_picture(np.random.default_rng(seed), 64, 64, [at("ring", 30, 30, 20)]) for seed in (5, 5, 6)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])  # the shape's own pixels are its placement's


def test_random_placements_have_every_class():
    rng = np.random.default_rng(0)
    drawn = [random_placement(rng, 3, 4, 5) for _ in range(300)]
    assert {placement.label for placement in drawn} == set(range(10))
    assert all((p.x, p.y, p.radius) == (3, 4, 5) and 0.8 <= p.aspect < 1 for p in drawn)
    few = [random_placement(rng, 3, 4, 5, FEW_CLASSES) for _ in range(100)]
    assert {CLASSES[placement.label] for placement in few} == set(FEW_CLASSES)


def write_note(folder: Path) -> None:
    (folder / "note.txt").write_text("generated")


def refuse(folder: Path) -> None:
    raise AssertionError(f"wrote {folder} again")


def test_a_set_is_generated_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = tmp_path / "data" / "set"
    with caplog.at_level(logging.INFO):
        assert generated_folder(folder, {"version": 1, "seed": 0}, write_note) == folder
    assert f"generating Shapes in {folder}" in caplog.text
    assert (folder / "note.txt").read_text() == "generated"
    assert json.loads((folder / "stamp.json").read_text()) == {"version": 1, "seed": 0}
    assert generated_folder(folder, {"seed": 0, "version": 1}, refuse) == folder
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


@pytest.mark.parametrize("foreign", [True, False])
def test_other_folders_are_left_alone(tmp_path: Path, foreign: bool):
    folder = tmp_path / "set"
    if foreign:
        folder.mkdir()
        (folder / "mine.txt").write_text("keep")
    else:
        generated_folder(folder, {"version": 1, "seed": 0}, write_note)
    before = {path: path.read_text() for path in folder.iterdir()}
    beside = generated_folder(folder, {"version": 2, "seed": 0}, write_note)
    assert beside == tmp_path / "set-version2-seed0"
    assert generated_folder(folder, {"version": 2, "seed": 0}, refuse) == beside
    assert {path: path.read_text() for path in folder.iterdir()} == before


def test_a_failed_set_leaves_nothing(tmp_path: Path):
    def fail(folder: Path) -> None:
        write_note(folder)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        generated_folder(tmp_path / "set", {"version": 1}, fail)
    assert list(tmp_path.iterdir()) == []


def test_killed_at_random_moments(tmp_path: Path, kill_after: Callable):
    def write_slowly(folder: Path) -> None:
        for number in range(20):
            (folder / f"{number}.txt").write_text("generated")
            time.sleep(0.002)

    rng, folder, outcomes = random.Random(0), tmp_path / "set", []
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        generate = partial(generated_folder, folder, {"version": 1}, write_slowly)
        kill_after(rng.uniform(0, 0.08), generate)
        outcomes.append(folder.exists())
        assert not folder.exists() or len(list(folder.glob("*.txt"))) == 20
    assert False in outcomes
    assert len(list(generated_folder(folder, {"version": 1}, write_slowly).iterdir())) == 21


def test_two_processes_at_once(tmp_path: Path):
    folder = tmp_path / "set"

    def overtaken(filling: Path) -> None:
        write_note(filling)
        generated_folder(folder, {"version": 1}, write_note)  # the other process is done first

    assert generated_folder(folder, {"version": 1}, overtaken) == folder
    assert read_stamp(folder) == '{"version": 1}'
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_folder_in_the_way_is_not_taken_for_ours(tmp_path: Path):
    folder = tmp_path / "set"

    def overtaken(filling: Path) -> None:
        folder.mkdir()
        (folder / "mine.txt").write_text("keep")

    with pytest.raises(OSError):
        generated_folder(folder, {"version": 1}, overtaken)
    assert (folder / "mine.txt").read_text() == "keep"
