"""The pictures of a classifier's training: its first batches, its validation pictures, its labels."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from backbones.spec import InputSpec
from classification.data.labelled_batches import Batch, Pictures
from classification.score.classifier_errors import predict
from pictures.run_pictures.drawn_runs import RunPictures, handful, save_picture
from pictures.run_pictures.label_statistics import draw_class_counts
from pictures.run_pictures.picture_grid import as_grid, captioned, fitting
from training.loader import Item

SHOWN = 24  # validation pictures
IN_GRID, COLUMNS, SIDE = 32, 8, 112  # pictures of a training batch, in a row, and pixels of a long side
WIDTH = 130  # pixels at least, for a caption
RIGHT, WRONG = "darkgreen", "firebrick"

Prepare = Callable[[Batch], tuple[Tensor, Tensor]]


class ClassifierPictures:
    """Draws the pictures of a training; see `RunPictures`."""

    def __init__(self, out: Path, training: Pictures, validation: Pictures) -> None:
        """The validation pictures to be shown are a fixed handful, whatever else is in the set."""
        self.training, self.validation = training, validation
        # Pixels, label, class of the highest probability, and that; of each picture to be shown.
        self.answers: list[tuple[np.ndarray, int, int, float]] = []
        self.pictures = RunPictures(out, self._draw_validation)
        self.draw = self.pictures.draw

    def of_start(self, batches: Iterable[Any], prepare: Prepare, device: torch.device) -> Iterator[Any]:
        """The batches of a training from its first step on; the first ones are drawn as they pass.

        Args:
            prepare: gives the network's pictures of a batch on the device, and (N,) labels or (N, K) shares.
        """

        def draw(batch: Any) -> Image.Image:
            images, targets = prepare(batch.to(device))
            return draw_batch(
                as_pixels(images, self.training.input_spec), targets.cpu(), self.training.classes
            )

        return self.pictures.of_start(batches, draw, self._draw_labels)

    def keep(self, model: nn.Module, device: torch.device, precision: str) -> None:
        """Asks the network about the pictures to be shown, and remembers its answers."""
        batch = self.validation.read([Item(index, 0) for index in self._handful()])
        seen: list[Tensor] = []

        def judge(batch: Batch) -> Tensor:
            seen.append(self.validation.prepare(batch))
            return model(seen[0])

        ((_, labels, scores),) = predict(model, [batch], judge, device=device, precision=precision)
        shares, best = (values.tolist() for values in scores.exp().max(dim=1))
        pixels = as_pixels(seen[0], self.validation.input_spec)
        self.answers = [*zip(pixels, labels.tolist(), best, shares, strict=True)]

    def _handful(self) -> list[int]:
        # The folder of the set may be another, so names count from the class's folder on.
        names = ("/".join(Path(self.validation.name(i)).parts[-2:]) for i in range(len(self.validation)))
        return handful(names, SHOWN)

    def _draw_validation(self, folder: Path) -> None:
        """The truth in black, and the class of the highest probability below it, green where it is right."""
        classes, cells = self.validation.classes, []
        for picture, label, best, share in self.answers:
            small, _ = fitting(Image.fromarray(picture), SIDE)
            answer = captioned(
                small, f"{classes[best]} {share:.2f}", RIGHT if best == label else WRONG, WIDTH
            )
            cells.append(captioned(answer, classes[label], "black", WIDTH))
        if cells:
            save_picture(as_grid(cells, COLUMNS), folder / "answers.jpg")

    def _draw_labels(self, out: Path) -> None:
        number = len(self.training.classes)
        counts = {
            name: np.bincount(pictures.labels[pictures.labels >= 0].numpy(), minlength=number)
            for name, pictures in (("training", self.training), ("validation", self.validation))
        }
        draw_class_counts(counts, self.training.classes, out / "labels", what="pictures")


def as_pixels(images: Tensor, spec: InputSpec) -> np.ndarray:
    """Pictures (N, 3, H, W) as a network sees them → (N, H, W, 3) uint8 RGB.

    Where a mean picture was subtracted, its channel means are added, which differ by a few grey levels.
    """
    return spec.pixels(images).permute(0, 2, 3, 1).cpu().numpy()


def draw_batch(pixels: np.ndarray, targets: Tensor, classes: Sequence[str]) -> Image.Image:
    """The first pictures of a batch (N, H, W, 3), each below its class, or its classes with their shares.

    Args:
        targets: (N,) int64 labels, or (N, K) shares of the classes.
    """
    cells = []
    for picture, target in zip(pixels[:IN_GRID], targets[:IN_GRID], strict=True):
        small, _ = fitting(Image.fromarray(picture), SIDE)
        cells.append(captioned(small, _describe(target, classes), "black", WIDTH))
    return as_grid(cells, COLUMNS)


def _describe(target: Tensor, classes: Sequence[str]) -> str:
    if target.ndim == 0:
        return classes[int(target)]
    shares, order = target.sort(descending=True, stable=True)
    named = [
        (share, index) for share, index in zip(shares.tolist(), order.tolist(), strict=True) if share > 0
    ]
    if len(named) == 1:
        return classes[named[0][1]]
    return " + ".join(f"{share:.2f} {classes[index]}" for share, index in named[:2])
