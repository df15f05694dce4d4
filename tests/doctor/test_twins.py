"""Equal and nearly equal pictures, within a set and between sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from doctor.picture_checks import look_of


def test_looks_survive_saving_again(real_data: Path):
    paths = sorted((real_data / "coco" / "val2017").glob("*.jpg"))[:12]
    looks, smaller = [], []
    for path in paths:
        image = Image.open(path).convert("RGB")
        half = image.resize((image.width // 2, image.height // 2))
        first, second = look_of(np.asarray(image)), look_of(np.asarray(half))
        assert first is not None and second is not None
        looks.append(np.unpackbits(first))
        smaller.append(np.unpackbits(second))
    distances = np.array([[(a != b).sum() for b in smaller] for a in looks])
    apart = distances[~np.eye(len(paths), dtype=bool)]
    assert distances.diagonal().max() <= 7 < 50 < apart.min()


def test_a_flat_picture_looks_like_nothing():
    assert look_of(np.full((30, 30, 3), 90, dtype=np.uint8)) is None


def test_twins_in_a_set(coco: Path, diagnosis: Callable):
    pictures = coco.parent / "pictures"
    (pictures / "2.png").write_bytes((pictures / "1.png").read_bytes())
    image = np.array(Image.open(pictures / "1.png"))
    image[0, 0] ^= 1
    Image.fromarray(image).save(pictures / "3.png")
    found = {f.check: f for f in diagnosis(f"coco:{coco}:{pictures}")}
    assert found["duplicate_picture"].where == "2.png"
    assert found["duplicate_picture"].detail == "the same bytes as 1.png"
    assert found["near_duplicate_picture"].where == "3.png" and "leak" not in found
    quick = {f.check for f in diagnosis(f"coco:{coco}:{pictures}", quick=True)}
    assert "duplicate_picture" in quick and "near_duplicate_picture" not in quick


def test_leaks_between_sets(
    coco: Path, tmp_path: Path, diagnosis: Callable, draw: Callable, write: Callable, content: dict
):
    content["images"][1]["file_name"] = "4.png"
    content["images"][2]["file_name"] = "5.png"
    first = np.array(Image.open(tmp_path / "pictures" / "2.png"))
    first[5, 5] ^= 1
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "1.png").write_bytes((tmp_path / "pictures" / "1.png").read_bytes())
    Image.fromarray(first).save(tmp_path / "others" / "4.png")
    draw(tmp_path / "others" / "5.png", 50)
    other = write(tmp_path / "b.json", content)
    findings = diagnosis(f"coco:{coco}:{tmp_path / 'pictures'}", f"coco:{other}:{tmp_path / 'others'}")
    leaks = {f.check: (f.where, f.severity) for f in findings if "leak" in f.check}
    assert leaks == {"leak": ("1.png", "error"), "near_leak": ("4.png", "warning")}
