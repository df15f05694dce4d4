"""A recipe for a training set of one's own: what a configuration would say if somebody had written it.

It follows from facts of the set and the device alone, so that the same set always gives the same recipe. What
the user gives wins, and what depends on it follows it.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backbones.weights.published import find_weights
from detection.config import DetectionConfig
from detection.model.anchor_fit import best_iou
from detection.model.detector_kinds import KINDS
from detection.own_sets.dataset_kinds import DATASETS
from detection.own_sets.split_opener import SplitOpener
from detection.published_detectors import find_detector
from detection.recipes.machine_scale import CPU, GPU, Scale
from detection.recipes.set_facts import SetFacts, kind_of, survey_set
from detection.results.metrics_by_name import OWN_METRICS
from detection.starting_weights import architecture
from detection.train import finetune
from foundation.errors import WeightsError, plural
from training.config import load_config, override_values, parse_config
from training.devices import gather_objects, is_main, process_group, resolve_device, world_size

logger = logging.getLogger(__name__)

ENLARGED = 2.0  # at most: more makes no detail
LEAST_SIDE = 64  # pixels: two cells of conv5
WIDEST = 5 / 3  # long side over short side; what is wider has a shorter short side
EPOCHS = (12, 100)  # COCO's 1x schedule; more than the second only repeats
FEWEST_STEPS = 200
OPEN = {"data": {"short_side": 1, "max_side": 2**20}, "schedule": {"epochs": 1}}
WELL_COVERED = 0.5  # IoU of a box with its best anchor
# Whoever gives one of these wants another network than the published detector.
OF_ARCHITECTURE = (
    *("backbone.", "detector.kind", "detector.class", "detector.pyramid"),
    *("rpn.anchor", "rpn.channels"),
)


@dataclass
class Recipe:
    """Values by dotted key, and a line for each group that says what was chosen and why."""

    values: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def add(self, reason: str, **sections: Mapping[str, Any]) -> None:
        """Takes over values by section and key."""
        self.reasons.append(reason)
        for section, values in sections.items():
            self.values |= {f"{section}.{key}": value for key, value in values.items()}


def is_own_set(overrides: Sequence[str]) -> bool:
    """Whether a command line without a configuration names a data set of the user's own."""
    given = override_values(overrides)
    kind = DATASETS.get(str(given.get("data.kind")))
    generated = kind is not None and kind.find is None
    return given.get("data.root") is not None and not generated


def train_own_set(
    overrides: Sequence[str], out: Path | None, *, resume: bool, overwrite: bool
) -> dict[str, Any]:
    """Trains by the recipe for a set of one's own; see `own_set_config`, and `finetune` for what it gives."""
    with process_group(resolve_device(str(override_values(overrides).get("run.device", "auto")))):
        opened = SplitOpener()
        config, out = own_set_config(overrides, out, resume=resume, opened=opened)
        return finetune(config, out, resume=resume, overwrite=overwrite, opened=opened)


def own_set_config(
    overrides: Sequence[str], out: Path | None, *, resume: bool, opened: SplitOpener
) -> tuple[DetectionConfig, Path]:
    """The configuration for a set of one's own, and the run folder: `out`, or runs/<name of the data folder>.

    A run that goes on keeps the recipe that it was begun with. Several processes call it together, in their
    `process_group`, and have the same configuration. The set is opened by way of `opened`.

    Raises:
        UserError: the set or an override is not as needed.
        WeightsError: weights were named that cannot be had.
    """
    given = override_values(overrides)
    root = Path(str(given["data.root"]))
    folder = root.absolute().parent if root.is_file() else root.absolute()  # of a data.yaml
    out = out or Path("runs") / folder.name
    if resume and (out / "config.yaml").is_file():
        return load_config(DetectionConfig, out / "config.yaml", overrides), out
    kind = given.get("data.kind")
    if kind is None:
        kind = given["data.kind"] = kind_of(root)
        logger.info("%s looks like data.kind=%s", root, kind)
    known = [f"data.kind={kind}", *overrides]
    # Before anything is chosen or fetched; what the recipe will set is open yet, so it limits nothing.
    checked = parse_config(DetectionConfig, OPEN, known, source="command line")
    given["data.train"] = checked.data.train  # as the kind has it where none is given; VOC's names the year
    facts = survey_set(checked.data, opened)
    # Of other GPUs no training has been timed: theirs is the CPU's, which ends soon everywhere.
    gpu = resolve_device(str(given.get("run.device", "auto"))).type == "cuda"
    recipe = choose(facts, given, GPU if gpu else CPU, processes=world_size())
    for reason in recipe.reasons:
        logger.info("recipe: %s", reason)
    logger.info("recipe: every value is in %s; key=value changes it, --keys explains it", out / "config.yaml")
    sections: dict[str, Any] = {}
    for key, value in recipe.values.items():
        section, _, name = key.rpartition(".")
        (sections.setdefault(section, {}) if section else sections)[name] = value
    return parse_config(DetectionConfig, sections, known, source="recipe"), out


def choose(facts: SetFacts, given: Mapping[str, Any], scale: Scale, *, processes: int = 1) -> Recipe:
    """What suits a set.

    Args:
        given: the user's own values by dotted key, which others follow.
        scale: what the device can do.
    """
    recipe = Recipe()
    short, long = facts.median_sides
    recipe.add(
        f"{plural(facts.pictures, 'picture')} of {long:.0f}x{short:.0f} (median), "
        f"{plural(len(facts.boxes), 'object')} of {plural(facts.classes, 'class', 'classes')}, "
        f"{'with' if facts.masks else 'without'} masks"
    )
    _choose_network(recipe, facts, given, scale)
    _choose_sides(recipe, facts, given, scale)
    _choose_anchors(recipe, facts, given)
    _choose_length(recipe, facts, given, scale, processes)
    metric = OWN_METRICS.get(str(given.get("data.kind")), "coco")
    year = str(given.get("data.train")).partition(":")[0]
    recipe.values["metric"] = "voc07" if metric == "voc12" and year == "2007" else metric
    return recipe


def _choose_network(recipe: Recipe, facts: SetFacts, given: Mapping[str, Any], scale: Scale) -> None:
    kind, name = given.get("detector.kind", "fpn"), str(given.get("backbone.name", scale.backbone))
    recipe.values |= {
        "detector.kind": kind,
        "detector.mask": facts.masks,
        "backbone.name": name,
        **scale.heads,
    }
    recipe.values["roi.nms_threshold"] = 0.5
    why = "a GPU is there" if scale is GPU else "there is no GPU"
    what = "Mask" if given.get("detector.mask", facts.masks) else "Faster"
    if detector := given.get("model.weights") or _published_detector(what, given, scale):
        recipe.values |= {**override_values(architecture(detector)), "model.weights": detector}
        recipe.add(f"{what} R-CNN, from the detector {detector}, whose architecture and anchors are kept")
        return
    if "backbone.weights" in given:
        weights = given["backbone.weights"]
    else:
        published = f"torchvision/{name}.IMAGENET1K_V1"
        weights = (
            published if _is_there(find_weights, published, "training from scratch, which is slow") else None
        )
        recipe.values["backbone.weights"] = weights
    network = f"{what} R-CNN ({kind}) on {name}, since {why}"
    if weights is None:
        recipe.add(f"{network}, from scratch", backbone={"norm": "batch", "frozen_stages": 0})
    else:
        recipe.add(f"{network}, from {weights}")


def _published_detector(what: str, given: Mapping[str, Any], scale: Scale) -> str | None:
    """torchvision's on COCO where a GPU can train it and nothing that is given asks for another network."""
    weights = f"torchvision/{what.lower()}rcnn_resnet50_fpn.COCO_V1"
    if scale is not GPU or any(key.startswith(OF_ARCHITECTURE) for key in given):
        return None
    return weights if _is_there(find_detector, weights, "starting from the backbone alone") else None


def _is_there(find: Callable[[str], Any], weights: str, otherwise: str) -> bool:
    """Whether every process can have published weights; a warning if not, since nobody asked for them."""
    try:
        find(weights)
        reason = ""
    except WeightsError as error:
        reason = " ".join(str(error).split())
    reasons = list(filter(None, gather_objects(reason)))
    if reasons and is_main():
        logger.warning("%s: %s", otherwise, reasons[0])
    return not reasons


def _choose_sides(recipe: Recipe, facts: SetFacts, given: Mapping[str, Any], scale: Scale) -> None:
    short, long = facts.median_sides
    side = min(scale.short_side, max(LEAST_SIDE, math.ceil(ENLARGED * short / 32) * 32))
    side = int(given.get("data.short_side", min(side, given.get("data.max_side", side))))
    longest = max(side, math.ceil(side * min(max(long / short * 1.1, 4 / 3), WIDEST) / 32) * 32)
    longest = int(given.get("data.max_side", longest))
    recipe.add(
        f"pictures are resized to a short side of {side}, a long side of at most {longest}",
        data={"short_side": side, "max_side": longest},
    )


def _choose_anchors(recipe: Recipe, facts: SetFacts, given: Mapping[str, Any]) -> None:
    """The kind's own sizes where they cover nine of ten boxes, else sizes that span the boxes."""
    kind = recipe.values["detector.kind"]
    usual = KINDS[kind].rpn["anchor_sizes"] if kind in KINDS else ()
    kept = given.get("rpn.anchor_sizes") is not None or recipe.values.get("model.weights") is not None
    if kept or not usual or not len(facts.boxes):
        return
    boxes = facts.resized_boxes(recipe.values["data.short_side"], recipe.values["data.max_side"])
    ratios = given.get("rpn.anchor_ratios") or (0.5, 1.0, 2.0)
    sizes = spanning_sizes([float(size) for size in (boxes.prod(axis=1) ** 0.5)], len(usual))
    covered, better = (
        float((best_iou(boxes, chosen, ratios) >= WELL_COVERED).mean()) for chosen in (usual, sizes)
    )
    if covered < 0.9 and better > covered:
        recipe.add(
            f"anchors of {', '.join(f'{size:g}' for size in sizes)} pixels, which cover {better:.0%} of the "
            f"resized boxes with an IoU of {WELL_COVERED:g}; the usual ones cover {covered:.0%}",
            rpn={"anchor_sizes": sizes},
        )


def spanning_sizes(sizes: Sequence[float], count: int) -> list[float]:
    """`count` sizes in equal ratios over the middle nine tenths of these, and over at least a factor of 4."""
    ordered = sorted(sizes)
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.05, 0.95))
    middle, span = (low * high) ** 0.5, max(high / low, 4.0)
    exponents = [index / (count - 1) - 0.5 for index in range(count)]
    return [float(f"{max(2.0, middle * span**exponent):.2g}") for exponent in exponents]


def _choose_length(
    recipe: Recipe, facts: SetFacts, given: Mapping[str, Any], scale: Scale, processes: int
) -> None:
    shares = processes * int(given.get("optim.accumulate") or 1)
    batch = int(given.get("optim.batch_size") or shares * math.ceil(scale.batch * processes / shares))
    steps_an_epoch = facts.pictures / batch
    usual = min(max(1200 / facts.pictures**0.5, EPOCHS[0]), EPOCHS[1])
    epochs = max(usual, FEWEST_STEPS / steps_an_epoch)
    why = "small sets need more passes" if usual > EPOCHS[0] else "as COCO's 1x schedule"
    if scale.steps is not None and epochs * steps_an_epoch > scale.steps:
        epochs, why = scale.steps / steps_an_epoch, f"{scale.steps} steps at most without a GPU"
    epochs = float(f"{epochs:.3g}")
    if given.get("schedule.epochs"):
        epochs, why = float(given["schedule.epochs"]), "as given"
    elif given.get("schedule.total_steps"):
        epochs, why = float(given["schedule.total_steps"]) / steps_an_epoch, "as given"
    steps = math.ceil(epochs * steps_an_epoch)
    schedule: dict[str, Any] = {"epochs": epochs}
    if given.get("schedule.kind", "step") == "step":
        schedule["milestone_epochs"] = [round(epochs * share, 3) for share in (2 / 3, 8 / 9)]
    if given.get("schedule.warmup") != "error":
        schedule |= {"warmup_steps": min(500, steps // 10), "warmup_factor": 0.01}
    recipe.add(
        f"{epochs:g} epochs in batches of {batch}, about {steps} steps: {why}",
        optim={
            "batch_size": batch,
            "lr": scale.lr,
            "reference_batch": scale.reference_batch,
            "clip_norm": 10.0,
        },
        schedule=schedule,
        run={
            "eval_epochs": float(f"{max(min(1.0, epochs), epochs / scale.evaluations):.3g}"),
            "log_every": min(50, max(1, steps // 20)),
        },
    )
