"""The corner convention of enlarged maps, and grids of averages."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.model.map_sizes import GridAverage, pad_to_cells, resize_bilinear


def test_the_convention_of_corners():
    # Output pixel i reads place (i + 0.5) · 2 / 4 − 0.5: −0.25, held at 0; 0.25; 0.75; 1.25, held at 1.
    row = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert resize_bilinear(row, (1, 4)).flatten().tolist() == [0, 0.25, 0.75, 1]
    # To three pixels: places −1/6, 1/2 and 7/6.
    assert resize_bilinear(row, (1, 3)).flatten().tolist() == [0, 0.5, 1]
    # With corners aligned the first would have been 0, 1/3, 2/3, 1.
    square = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).view(1, 1, 2, 2)
    assert resize_bilinear(square, (4, 4))[0, 0, 1].tolist() == [0.5, 0.75, 1.25, 1.5]


def test_padding_to_whole_cells():
    labels = torch.ones(2, 5, 8, dtype=torch.uint8)
    padded = pad_to_cells(labels, 4, 255)
    assert padded.shape == (2, 8, 8) and padded.dtype == torch.uint8
    assert (padded[:, :5] == 1).all() and (padded[:, 5:] == 255).all()
    assert pad_to_cells(torch.ones(1, 3, 4, 8), 4).shape == (1, 3, 4, 8)
    assert pad_to_cells(torch.ones(1, 3, 1, 1), 4).flatten().tolist() == 3 * ([1.0] + 15 * [0.0])


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(12, 6), (13, 17), (5, 1), (1, 1)])
def test_cells_are_those_of_adaptive_pooling(bins: int, size: tuple[int, int]):
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(GridAverage(bins)(x), F.adaptive_avg_pool2d(x, bins))


def test_cells_overlap_where_the_size_is_no_multiple():
    # Five pixels in two cells: 0 to 2 and 2 to 4.
    x = torch.tensor([1.0, 2.0, 6.0, 4.0, 5.0]).view(1, 1, 1, 5)
    assert GridAverage(2)(x)[0, 0].tolist() == [[3, 5], [3, 5]]


def test_averages_in_half_precision_lose_no_more_than_their_rounding():
    x = torch.full((1, 1, 3, 7), 3.0, dtype=torch.bfloat16)
    assert (GridAverage(2)(x) == 3).all()


class Pooled(nn.Module):
    """Averages over a grid, enlarged to the size they came from."""

    def forward(self, x: Tensor) -> Tensor:
        return resize_bilinear(GridAverage(3)(x), x.shape[2:])


def test_onnx_files_take_maps_of_any_size(tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    axes = {0: "batch", 2: "height", 3: "width"}
    example = (torch.randn(2, 3, 8, 12),)
    torch.onnx.export(
        Pooled().eval(), example, tmp_path / "a.onnx", input_names=["x"], dynamic_shapes=(axes,), dynamo=True
    )
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    x = torch.randn(1, 3, 13, 7)
    (found,) = session.run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), Pooled()(x))
