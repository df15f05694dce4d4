"""Evaluation of localization: of weights or of files of boxes, alone or as an ensemble."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.weights.downloads import digest
from detection.data.detection_batches import check_pictures
from detection.improve.box_refinement import VOTE_IOU
from detection.localization.box_lists import BoxLists, load_lists, pack_lists, require_same
from detection.localization.class_guesses import (
    Guesses,
    SavedScores,
    best_boxes,
    guessed_classes,
    wanted_classes,
)
from detection.localization.localization_config import LocalizationConfig
from detection.localization.localization_result import judge_pictures, localization_result
from detection.localization.localization_training import open_pictures
from detection.localization.localizer import RegionLocalizer
from detection.localization.localizer_files import LoadedLocalizer, load_localizer
from detection.localization.one_class_pictures import OneClassPictures
from detection.localization.picture_search import search
from detection.model.boxes import box_iou
from detection.results.submission import write_localization_submission
from foundation.atomic_files import write_json
from foundation.errors import UserError
from training.config import parse_config
from training.devices import is_main, process_group, resolve_device
from training.progress.computing_cost import measured
from training.run_folder import PER_PICTURE


def evaluate_localization(
    *,
    weights: Path | None,
    boxes: Sequence[Path],
    guesses: SavedScores | None,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    save_boxes: Path | None = None,
    submission: Path | None = None,
    bootstrap: int | None = None,
) -> dict[str, Any] | None:
    """Searches pictures with a network, or takes what was found, and scores the best boxes.

    Args:
        weights: of an RPN, or of an R-CNN, which looks again at what its RPN or a file of `boxes` proposes.
        boxes: files of boxes; without weights they are scored, several as an ensemble.
        guesses: of a classifier, for the columns of predicted classes.
        overrides: changes to the configuration of the training, for instance "testing.protocol=one_crop".
        out: folder for result.json, and per_picture.npz, which says which pictures are wrong.
        save_boxes: file for all boxes found, an .npz.
        submission: file for ILSVRC's server, or a .csv as Kaggle has it; needs guesses.
        bootstrap: resamples of the pictures, for intervals; None leaves them out.
    Returns:
        As `localization_result`, with what it is of; of a split without truth only the latter. None in
        processes other than the main one.
    Raises:
        UserError: files that do not fit each other or the data, or a number of resamples below 1.
    """
    if bootstrap is not None and bootstrap < 1:
        raise UserError(f"--bootstrap must be 1 or more resamples, got {bootstrap}")
    if submission is not None and guesses is None:
        raise UserError("--submission wants five guessed classes for a picture; give --guesses too")
    if save_boxes is not None and save_boxes.suffix != ".npz":
        raise UserError(f"--save-boxes {save_boxes}: the file is a NumPy archive; let its name end in .npz")
    if weights is not None:
        loaded = load_localizer(weights, overrides)
        pictures, labels = _pictures(loaded.config, loaded.classes, guesses)
        lists = _searched(weights, loaded, pictures, labels, boxes)
    else:
        lists = _joined(boxes)
        if lists.about.get("config") is None:
            raise UserError(
                f"{boxes[0]} does not say how its boxes were found, as the proposals of a run's folder "
                "do not; give a file of --save-boxes, or give this one beside the --weights of an R-CNN"
            )
        config = parse_config(LocalizationConfig, lists.about["config"], overrides, source=str(boxes[0]))
        pictures, labels = _pictures(config, lists.classes, guesses)
        _check_boxes(lists, pictures, boxes[0])
    if not is_main():
        return None
    if save_boxes is not None:
        lists.save(save_boxes)
    if submission is not None and labels is not None:
        write_localization_submission(best_boxes(lists, pictures, labels), pictures, submission)
    judged = judge_pictures(lists, pictures, labels) if pictures.has_truth else None
    result = {} if judged is None else localization_result(judged, resamples=bootstrap or 0)
    result["evaluated"] = lists.about | ({} if guesses is None else {"guesses": guesses.about})
    if out is not None:
        if judged is not None:
            judged.save(out / PER_PICTURE)
        write_json(out / "result.json", result, indent=1)
    return result


def _pictures(
    config: LocalizationConfig, classes: Sequence[str], guesses: SavedScores | None
) -> tuple[OneClassPictures, Guesses | None]:
    """The validation pictures, and the classes guessed for each."""
    pictures = open_pictures(config, config.data.val)
    if pictures.classes != classes:
        raise UserError(
            f"the boxes are of {len(classes)} classes, data.val={config.data.val} has "
            f"{len(pictures.classes)}, or their names differ: choose data to match"
        )
    check_pictures(pictures)
    return pictures, None if guesses is None else guessed_classes(guesses, pictures)


def _searched(
    weights: Path,
    loaded: LoadedLocalizer,
    pictures: OneClassPictures,
    guesses: Guesses | None,
    boxes: Sequence[Path],
) -> BoxLists:
    """What a network finds in the pictures."""
    model, config, _ = loaded
    device, wanted = resolve_device(config.run.device), wanted_classes(pictures, guesses)
    about: dict[str, Any] = {"config": json.loads(json.dumps(asdict(config)))}
    proposals = None
    with process_group(device):
        if isinstance(model, RegionLocalizer):
            proposals = _given_proposals(config, pictures, wanted, boxes, device)
            about["proposals"] = proposals.about
        elif boxes:
            raise UserError(f"--boxes {boxes[0]} has no effect with the weights of an RPN; leave it out")
        with measured(device, len(pictures)) as cost:
            lists = search(model.to(device), pictures, wanted, config, about, proposals)
    lists.about.update(weights=str(weights), sha256=digest(weights), cost=cost)
    return lists


def _given_proposals(
    config: LocalizationConfig,
    pictures: OneClassPictures,
    wanted: Sequence[Sequence[int]],
    boxes: Sequence[Path],
    device: torch.device,
) -> BoxLists:
    """Of a file, or of the RPN that R-CNN was trained on."""
    if boxes:
        given = _joined(boxes)
        _check_boxes(given, pictures, boxes[0])
        return given
    assert config.regions.proposals is not None
    overrides = [f"run.device={config.run.device}", f"run.workers={config.run.workers}"]
    model, own, _ = load_localizer(config.regions.proposals, overrides)
    about = {"weights": config.regions.proposals, "sha256": digest(Path(config.regions.proposals))}
    return search(model.to(device), pictures, wanted, own, about)


def _check_boxes(lists: BoxLists, pictures: OneClassPictures, file: Path) -> None:
    if lists.ids != list(map(str, pictures.image_ids)):
        raise UserError(
            f"{file} is of {len(lists.ids)} pictures, the split has {len(pictures)}, or they are others; "
            "search this split"
        )


def _joined(files: Sequence[Path]) -> BoxLists:
    """One file's boxes, or those of several as an ensemble, see `agreed`."""
    lists = [load_lists(file) for file in files]
    for file, other in zip(files[1:], lists[1:], strict=True):
        require_same(lists[0], other, (files[0], file))
    if len(lists) == 1:
        return lists[0]
    first = lists[0]
    found = [
        (picture, label, *agreed([one.of(picture, label) for one in lists]))
        for picture, label in zip(first.pictures.tolist(), first.labels.tolist(), strict=True)
    ]
    about = {"config": first.about.get("config"), "members": [one.about for one in lists]}
    return pack_lists(first.ids, first.classes, found, about)


def agreed(members: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """What several localizers say together of a class in a picture.

    Every box of every member is a candidate. It scores the mean over the members of the best that each says
    there, a box's score times its overlap with the candidate. Then all candidates that overlap it by a half
    vote for its place, as in appendix B. The paper has an ensemble of localizers, and does not say how.

    Args:
        members: boxes (R, 4) and scores (R,) of each.
    Returns:
        All candidates, best first: boxes (R, 4) and scores (R,).
    """
    boxes, scores = (torch.cat(parts) for parts in zip(*members, strict=True))
    said = [
        (box_iou(boxes[None], own[None])[0].nan_to_num() * weight).amax(dim=1)
        for own, weight in members
        if len(own)
    ]
    if not said:
        return boxes, scores
    together = torch.stack(said).sum(dim=0) / len(members)
    weights = scores * (box_iou(boxes[None], boxes[None])[0] >= VOTE_IOU)
    total = weights.sum(dim=1, keepdim=True)
    voted = torch.where(total > 0, weights @ boxes / total, boxes)
    order = together.argsort(descending=True, stable=True)
    return voted[order], together[order]
