"""Sets of segmentation read for the doctor: every label map, with all that is wrong with it."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from doctor.findings import Finding, find
from doctor.survey import Survey, SurveyedPicture
from foundation.errors import UserError, plural, suggest
from segmentation.data.label_maps import Labels, classes_of, read_label_map
from segmentation.data.mask_dataset import MaskDataset
from segmentation.data.segmentation_sets import KINDS
from segmentation.types import IGNORED, SegmentationDataset

PREFIX = "segmentation:"


def survey_masks(text: str) -> list[Survey]:
    """The surveys of segmentation:KIND:ROOT[:SPLIT]; without a split of the kind's two own.

    Raises:
        UserError: the text has another form, or a split cannot be opened.
    """
    kind, _, rest = text.removeprefix(PREFIX).partition(":")
    if kind not in KINDS or not rest:
        form = f"expected {PREFIX}KIND:ROOT[:SPLIT]"
        raise UserError(
            f"{text!r} is no set; {form}, KIND as data.kind of segmentation{suggest(kind, KINDS)}"
        )
    parts = rest.split(":")
    roots = [":".join(parts[:count]) for count in range(len(parts), 0, -1)]  # a split may have colons, too
    root = next(filter(os.path.exists, roots), parts[0])
    split = rest[len(root) + 1 :]
    return [
        survey_labels(KINDS[kind].open(Path(root), name), f"{PREFIX}{kind}:{root}:{name}")
        for name in ([split] if split else KINDS[kind].splits)
    ]


def survey_labels(dataset: SegmentationDataset, name: str) -> Survey:
    """The pictures of a set with the sizes of their label maps, and what is wrong with these."""
    survey = Survey(name, dataset.classes, annotated=False, labelled=True)
    pixels = np.zeros(256, dtype=np.int64)
    for index in range(len(dataset)):
        where, path = dataset.image_id(index), dataset.image_path(index)
        labels = None
        if dataset.has_truth:
            found = _read(dataset, index)
            if isinstance(found, Finding):
                survey.findings.append(found)
            else:
                labels = found
                pixels += np.bincount(labels.reshape(-1), minlength=256)
                if (labels == IGNORED).all():
                    survey.findings.append(find("all_ignored", where, "every pixel of its label map is 255"))
        size = None if labels is None else (labels.shape[0], labels.shape[1])
        survey.pictures.append(SurveyedPicture(where, path, size))
    if dataset.has_truth:
        survey.findings += _counts(dataset, pixels, name)
    return survey


def _read(dataset: SegmentationDataset, index: int) -> Labels | Finding:
    """A picture's label map, or why there is none."""
    if not isinstance(dataset, MaskDataset):  # drawn from objects, which were checked when it was opened
        return dataset.load_labels(index)
    mask, where = dataset.mask_path(index), dataset.image_id(index)
    assert mask is not None
    if not mask.is_file():
        return find("missing_mask", where, f"no file {mask}")
    try:
        indices = read_label_map(mask)
    except UserError as error:
        return find("unreadable_mask", where, str(error))
    try:
        return classes_of(indices, len(dataset.classes), dataset.first, mask)
    except UserError as error:
        return find("unknown_index", where, str(error))


def _counts(dataset: SegmentationDataset, pixels: np.ndarray, name: str) -> Iterator[Finding]:
    """The classes' shares of the pixels (256,) of all sound label maps, and those that none has."""
    counted = int(pixels[:IGNORED].sum())
    order = np.argsort(-pixels[: len(dataset.classes)], kind="stable").tolist()
    shares = [f"{dataset.classes[label]} {pixels[label] / max(1, counted):.1%}" for label in order]
    ignored = f"{pixels[IGNORED] / max(1, pixels.sum()):.1%} of all pixels ignored"
    sums = f"{plural(len(dataset), 'picture')}, {plural(len(dataset.classes), 'class', 'classes')}"
    yield find("class_counts", name, f"{sums}, {ignored}: {', '.join(shares)}")
    for label in np.flatnonzero(pixels[: len(dataset.classes)] == 0).tolist():
        detail = f"class {label}, {dataset.classes[label]!r}: none of {counted:,} labelled pixels is of it"
        yield find("absent_class", name, detail)
