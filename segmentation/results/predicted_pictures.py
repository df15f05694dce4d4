"""A network for semantic segmentation on pictures of one's own: label maps and drawings."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.atomic_files import write_text
from foundation.errors import UserError, plural
from foundation.file_naming import OutputNames
from pictures.decoding import load_image
from pictures.own_pictures import OwnPicture, check_answers_folder, list_pictures, report_unread
from pictures.suffixes import is_video
from pictures.video import open_video, write_video
from segmentation.data.label_maps import write_label_map
from segmentation.loaded_segmenter import PictureSegmenter, load
from segmentation.results.picture_result import SegmentedPicture
from training.progress.progress_bar import watched

logger = logging.getLogger(__name__)
MASKS, DRAWN, CLASSES = "masks", "drawn", "classes.txt"
# Options of detectors, and what does the same for label maps.
INSTEAD = {
    "threshold": "every pixel has a class",
    "tiles": "give testing.window=SIDE",
    "overlap": "give testing.overlap=SHARE",
    "tta": 'give testing.flip=true or "testing.scales=[0.75,1,1.25]"',
    "explain": "heat maps are of single detections",
    "merge": "probabilities of several looks are averaged",
}


def predict_label_maps(
    pictures: Sequence[Path],
    weights: Sequence[Path],
    out: Path,
    *,
    limit: int | None,
    overwrite: bool,
    overrides: Sequence[str] = (),
    of_detectors: Mapping[str, Any] | None = None,
) -> None:
    """Runs a network over pictures and folders; writes PNGs of indices in masks/, and drawings in drawn/.

    Both are called as the picture, without its suffix; classes.txt names the indices, 0 first. A video is
    drawn into one, and has no label maps. A picture that cannot be read does not stop the others; it is
    reported at the end.

    Args:
        weights: one file.
        limit: at most so many pictures, and so many of each video.
        overrides: changes to the network's configuration, for instance "testing.flip=true".
        of_detectors: options by name that only detectors have; each that is not None is refused.
    Raises:
        UserError: such an option, several files, no pictures, some unreadable, or a folder in use.
    """
    for name, value in (of_detectors or {}).items():
        if value is not None:
            raise UserError(
                f"--{name} is for detectors, and the weights are for semantic segmentation; leave it out"
                f" ({INSTEAD[name]})"
            )
    if len(weights) != 1:
        raise UserError(
            f"--weights names {len(weights)} files, {', '.join(map(str, weights))}; only detectors answer "
            "together: give one for semantic segmentation"
        )
    check_answers_folder(out, limit=limit, overwrite=overwrite)
    segmenter = load(weights[0], overrides=overrides)
    listed = list_pictures(pictures, limit=limit, leave_out=out)
    write_text(out / CLASSES, "".join(f"{name}\n" for name in segmenter.classes))
    problems, places = [], OutputNames(out / MASKS)
    for picture in watched(listed, len(listed), unit="picture", title="segmentation"):
        try:
            _predict(segmenter, picture, out, places, limit)
        except UserError as error:
            problems.append(str(error))
    done = plural(len(listed) - len(problems), "picture")
    logger.info("%s: %s, %s and %s are in %s", done, MASKS, DRAWN, CLASSES, out)
    report_unread(problems)


def _predict(
    segmenter: PictureSegmenter, picture: OwnPicture, out: Path, places: OutputNames, limit: int | None
) -> None:
    video = is_video(picture.path)
    mask = places.place(PurePath(picture.name).with_suffix("").as_posix(), ".mp4" if video else ".png")
    drawn = out / DRAWN / mask.relative_to(out / MASKS)
    if video:
        with open_video(picture.path) as (rate, frames):
            write_video(drawn, rate, _drawn_frames(segmenter, islice(frames, limit), limit))
        return
    pixels = load_image(picture.path)
    found = SegmentedPicture(pixels, segmenter.find(pixels), segmenter.classes)
    write_label_map(mask, found.labels)
    drawn.parent.mkdir(parents=True, exist_ok=True)
    found.draw().save(drawn)


def _drawn_frames(
    segmenter: PictureSegmenter, frames: Iterator[NDArray[np.uint8]], limit: int | None
) -> Iterator[NDArray[np.uint8]]:
    for frame in watched(frames, limit, unit="picture", title="video"):
        yield np.asarray(SegmentedPicture(frame, segmenter.find(frame), segmenter.classes).draw())
