import pytest
import torch

from segmentation.types import IGNORED, Batch


def batch(**changed: object) -> Batch:
    sound = {
        "images": torch.zeros(2, 3, 4, 5, dtype=torch.uint8),
        "labels": torch.full((2, 4, 5), IGNORED, dtype=torch.uint8),
        "sizes": torch.tensor([[4, 5], [3, 2]]),
        "seeds": torch.tensor([7, 8]),
        "ids": ["a", "b"],
    }
    return Batch(**{**sound, **changed})


def test_another_device_has_every_tensor_and_the_same_names():
    moved = batch().to("meta")
    tensors = (moved.images, moved.labels, moved.sizes, moved.seeds)
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.ids == ["a", "b"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"images": torch.zeros(2, 3, 4, 5)},
            r"images must be \(2, 3, 4, 5\) torch.uint8, got .* torch.float32",
        ),
        (
            {"labels": torch.zeros(2, 5, 4, dtype=torch.uint8)},
            r"labels must be \(2, 4, 5\) .*got \(2, 5, 4\)",
        ),
        ({"labels": torch.zeros(2, 4, 5, dtype=torch.int64)}, "torch.int64"),
        ({"sizes": torch.zeros(2, 2)}, r"sizes must be \(2, 2\) torch.int64"),
        ({"seeds": torch.zeros(1, dtype=torch.int64)}, r"seeds must be \(2,\) torch.int64, got \(1,\)"),
    ],
)
def test_wrong_batches(wrong: dict, message: str):
    with pytest.raises(ValueError, match=message):
        batch(**wrong)
