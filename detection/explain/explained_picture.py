"""A picture with its strongest detections, and beside it the heat map of each."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from detection.explain.detection_heat import explain_detections
from detection.loaded_detector import Detector
from detection.results.prediction_drawing import draw
from detection.types import Prediction
from pictures.run_pictures.heat_overlay import lay_heat
from pictures.run_pictures.picture_grid import as_grid, fitting

LONGEST = 640  # pixels of a cell's long side
COLUMNS = 4


def draw_explained(
    detector: Detector, pixels: NDArray[np.uint8], prediction: Prediction, count: int
) -> Image.Image:
    """The picture with the `count` strongest of its detections, then each of them over its heat.

    Args:
        detector: as `check_explainable` wants it.
        pixels: (H, W, 3) RGB.
        prediction: of `Detector.find` for the picture, or some of its rows.
    """
    strongest = prediction.of_rows(prediction.scores.argsort(descending=True, stable=True)[:count])
    cells = [_drawn(detector, pixels, strongest)]
    for row, heat in enumerate(explain_detections(detector, pixels, strongest)):
        cells.append(_drawn(detector, lay_heat(pixels, heat), strongest.of_rows(torch.tensor([row]))))
    return as_grid(cells, COLUMNS)


def _drawn(detector: Detector, pixels: NDArray[np.uint8], prediction: Prediction) -> Image.Image:
    cell = draw(pixels, prediction, detector.classes, score_threshold=0.0)
    return fitting(cell, LONGEST)[0] if max(cell.size) > LONGEST else cell
