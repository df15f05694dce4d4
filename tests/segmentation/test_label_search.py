"""Label maps of whole pictures: scales, mirror images and windows, by a network that answers by colour."""

import numpy as np
import pytest
import torch

from segmentation.label_search import SearchOptions, search_labels, windows


def picture(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(3, H, W) in blocks of pure colours of 16 pixels, and the class of each pixel."""
    blocks = np.random.default_rng(0).integers(0, 3, (-(-height // 16), -(-width // 16)))
    labels = torch.from_numpy(np.kron(blocks, np.ones((16, 16), dtype=np.int64))[:height, :width])
    return (torch.nn.functional.one_hot(labels, 3).permute(2, 0, 1) * 255).to(torch.uint8), labels


def search(network, image: torch.Tensor, short_side: int | None = None, **options) -> torch.Tensor:
    with torch.inference_mode():
        found = search_labels(network, image, SearchOptions(**options), short_side=short_side, bf16=False)
    assert found.dtype == torch.uint8 and found.shape == image.shape[1:]
    return found.long()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"flip": True},
        {"window": 48},
        {"window": 48, "overlap": 0.0},
        {"window": 48, "flip": True, "scales": (1.0, 2.0)},
    ],
)
def test_what_keeps_the_pixels_keeps_the_answer(by_colour, options: dict):
    image, labels = picture(75, 110)
    assert torch.equal(search(by_colour, image, **options), labels)


def test_scales_and_short_sides_change_what_is_seen(by_colour):
    image, labels = picture(64, 96)
    found = search(by_colour, image, short_side=32, scales=(1.0, 0.5), flip=True)
    assert by_colour.seen == [(32, 48), (32, 48), (16, 24), (16, 24)]
    assert (found == labels).float().mean() > 0.8  # the borders of blocks blur


def test_one_scale_is_scaled_back(by_colour):
    image, labels = picture(64, 96)
    found = search(by_colour, image, scales=(2.0,))
    assert by_colour.seen == [(128, 192)] and torch.equal(found, labels)


def test_probabilities_are_averaged_not_votes():
    class Unsure(torch.nn.Module):
        """Class 1 by a little, but of mirror images class 0 by far."""

        input_spec = None

        def forward(self, images):
            mirrored = bool(images[0, 0, 0, 0] == 0)
            first = 5.0 if mirrored else -0.1
            logits = torch.zeros(1, 2, *images.shape[2:])
            logits[:, 0] = first
            return {"out": logits}

        whole_cells = forward

    network = Unsure()
    network.input_spec = type("Spec", (), {"normalise": staticmethod(lambda images: images.float())})()
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    image[:, 0, 0] = 255
    assert search(network, image).unique().tolist() == [1]
    assert search(network, image, flip=True).unique().tolist() == [0]


def test_windows_cover_everything_and_reach_the_borders():
    places = list(windows((75, 110), 48, 1 / 3))
    assert sorted({top for top, _ in places}) == [0, 27] and sorted({left for _, left in places}) == [
        0,
        31,
        62,
    ]
    covered = np.zeros((75, 110), dtype=bool)
    for top, left in places:
        assert 0 <= top <= 75 - 48 and 0 <= left <= 110 - 48
        covered[top : top + 48, left : left + 48] = True
    assert covered.all()
    assert list(windows((30, 48), 48, 0.5)) == [(0, 0)]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scales": ()}, r"scales must be one or more factors above 0, got \[\]"),
        ({"window": 8}, "window must be at least 32, got 8"),
        ({"overlap": 1.0}, r"overlap must be from 0 to 0\.9, got 1\.0"),
    ],
)
def test_wrong_options(options: dict, text: str):
    with pytest.raises(ValueError, match=text):
        SearchOptions(**options)
