"""The pictures to know by heart: which are chosen."""

from typing import Any

import pytest

from foundation.errors import UserError
from reproduction.detectors.overfit import choose


def image(number: int) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.jpg", "height": 100, "width": 100}


def thing(image_id: int, area: float = 1024, **fields: Any) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": 1, "area": area, "bbox": [0, 0, 32, 32], **fields}


def test_small_crowded_empty_and_full_pictures_are_left_out():
    objects = [thing(2), thing(2, area=1023), thing(3, iscrowd=1), *[thing(4)] * 5, *[thing(5)] * 4, thing(6)]
    content = {"images": [image(n) for n in range(1, 8)], "annotations": objects, "categories": [{"id": 1}]}
    chosen = choose(content, 2)
    assert [entry["id"] for entry in chosen["images"]] == [5, 6]
    assert chosen["annotations"] == [*[thing(5)] * 4, thing(6)] and chosen["categories"] == [{"id": 1}]
    with pytest.raises(UserError, match=r"3 pictures were asked for, only 2 have 1 to 4 objects.*--pictures"):
        choose(content, 3)
