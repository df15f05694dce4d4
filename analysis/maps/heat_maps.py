"""Heat maps of a classifier's answers: Grad-CAM and its guided variants (Selvaraju et al. 2017)."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from analysis.arrays import Arrays, Batches, check_pictures
from backbones.explain.grad_cam import explain_answers
from backbones.spec import Network
from foundation.errors import UserError
from training.config import require_between

MOST = 100  # pictures that are kept and drawn together
PIXELS_AT_ONCE = 2**19  # that pass the network together, since all maps are kept for the way back


@dataclass(frozen=True)
class HeatmapOptions:
    """Which answers are explained.

    Attributes:
        pictures: number of pictures, at most 100, since all are drawn in one figure.
        target: the class asked for: the network's "answer", or the picture's "label".
        feature: whose map Grad-CAM reads, as "res4"; None takes the last.
    """

    pictures: int = 8
    target: Literal["answer", "label"] = "answer"
    feature: str | None = None

    def __post_init__(self) -> None:
        require_between(self, 1, MOST, "pictures")


def measure_heat_maps(network: Network, batches: Batches, options: HeatmapOptions) -> Arrays:
    """What in each picture speaks for a class.

    Args:
        network: in evaluation mode.
        batches: (N, 3, H, W) normalised pictures, all of one size, and labels (N,), −1 where unknown.
    Returns:
        Of N pictures: "images" (N, H, W, 3) uint8; "labels", "answers" and "targets" (N,) int64; "scores"
        (N,) probabilities of the targets; "grad_cam" (N, H, W), "guided" and "guided_grad_cam" (N, H, W, 3)
        float32, as of `explain_answers`, colours in the order red, green, blue; "feature".
    Raises:
        OptionError: the network has no such feature.
        UserError: no pictures, an unknown label is the target, or captum is not installed.
    """
    feature = options.feature or list(network.feature_specs)[-1]
    parts: dict[str, list[Tensor]] = {}
    for images, labels in _parts(batches):
        with torch.no_grad():
            probabilities = network(images).softmax(1)
        answers = probabilities.argmax(1)
        targets = answers if options.target == "answer" else labels
        if int(targets.min()) < 0:
            raise UserError("heatmap.target=label needs labels, and these pictures have none; leave it out")
        heat = explain_answers(network, images, targets, feature)
        colours = [2, 1, 0] if network.input_spec.order == "BGR" else [0, 1, 2]
        found = {
            "images": network.input_spec.pixels(images).movedim(1, -1),
            "labels": labels,
            "answers": answers,
            "targets": targets,
            "scores": probabilities.gather(1, targets[:, None])[:, 0],
            "grad_cam": heat.grad_cam,
            "guided": heat.guided[:, colours].movedim(1, -1),
            "guided_grad_cam": heat.guided_grad_cam[:, colours].movedim(1, -1),
        }
        for name, values in found.items():
            parts.setdefault(name, []).append(values.cpu())
    check_pictures(len(parts))
    arrays = {name: torch.cat(values).numpy() for name, values in parts.items()}
    return arrays | {"feature": np.array(feature), "pictures": np.array(len(arrays["labels"]))}


def _parts(batches: Batches) -> Batches:
    """The same pictures, few at a time."""
    for images, labels in batches:
        size = max(1, PIXELS_AT_ONCE // images[0, 0].numel())
        yield from zip(images.split(size), labels.split(size), strict=True)


def summarise_heat_maps(arrays: Arrays) -> dict[str, Any]:
    """How many answers are right, how sure, and how much of a picture is warm: half the maximum or more."""
    heat, known = arrays["grad_cam"], arrays["labels"] >= 0
    found: dict[str, Any] = {"pictures": int(arrays["pictures"]), "feature": str(arrays["feature"])}
    if known.any():
        found["right"] = int((arrays["answers"] == arrays["labels"])[known].sum())
    warm = (heat >= heat.max(axis=(1, 2), keepdims=True) / 2) & (heat > 0)
    return found | {
        "mean_score": float(arrays["scores"].mean()),
        "warm_share": float(warm.mean()),
        "cold_pictures": int((heat.max(axis=(1, 2)) == 0).sum()),
    }
