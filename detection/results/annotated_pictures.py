"""A detector on pictures of one's own: drawn, and listed in one file."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detection.charts.score_thresholds import at_least, read_thresholds
from detection.data.annotation_writers import coco_content, coco_image
from detection.data.picture_folder import PictureFolder
from detection.explain.detection_heat import check_explainable
from detection.explain.explained_picture import draw_explained
from detection.improve.improve_options import ONE_LOOK, ImproveOptions
from detection.loaded_detector import Detector, load
from detection.results.pasted_masks import mask_area
from detection.results.prediction_drawing import draw
from detection.results.result_records import to_coco_records
from detection.types import Prediction
from foundation.atomic_files import write_json
from foundation.errors import UserError, plural
from foundation.file_naming import OutputNames
from pictures.decoding import load_image
from pictures.own_pictures import check_answers_folder, report_unread
from pictures.suffixes import is_video
from pictures.video import open_video, write_video
from training.progress.progress_bar import watched

logger = logging.getLogger(__name__)
EXPLAINED = "explained"  # the folder of heat maps


def predict_pictures(
    pictures: Path | Sequence[Path],
    weights: Path | Sequence[Path],
    out: Path,
    *,
    threshold: float | str | Path = 0.5,
    limit: int | None,
    overwrite: bool,
    overrides: Sequence[str] = (),
    improve: ImproveOptions = ONE_LOOK,
    explain: int | None = None,
) -> None:
    """Runs a detector over pictures and folders; writes the pictures with boxes and `predictions.json`.

    A video is drawn into one too; in predictions.json each of its pictures has a number, `frame`, from 0 on.
    A picture that cannot be read does not stop the others; it is reported at the end. `predictions.json` is
    written whatever stops the work, with what was found until then.

    Args:
        threshold: least score that is drawn, or an operating_point.json, which has one for each class;
            predictions.json holds everything the detector reports.
        weights: as of `detection.load`.
        limit: at most so many pictures, and so many of each video.
        overrides: changes to the detector's configuration, for instance "roi.score_threshold=0.3".
        improve: tiles and augmentation, for better answers that take longer.
        explain: also draws, into `explained/`, heat maps of so many detections a picture, the strongest.
    Raises:
        UserError: no pictures, some unreadable, a folder in use, an impossible threshold or limit, or a
            video or several looks that heat maps are asked for.
    """
    if explain is not None and explain < 1:
        raise UserError(f"--explain must be at least 1 detection a picture, got {explain}")
    check_answers_folder(out, limit=limit, overwrite=overwrite)
    least = read_thresholds(threshold, "--threshold")
    detector = load(weights, overrides=overrides, **asdict(improve))
    thresholds = least.of(detector.classes)
    dataset = PictureFolder(pictures, detector.classes, detector.category_ids, limit=limit, leave_out=out)
    if explain is not None:
        check_explainable(detector, [dataset.image_path(index) for index in range(len(dataset))])
    (out / "predictions.json").unlink(missing_ok=True)  # written last, it is of the pictures beside it
    drawing = _Drawing(detector, dataset, out, thresholds, limit, explain)
    try:
        broken = drawing.draw_all()
    finally:
        write_json(out / "predictions.json", drawing.content())
    logger.info("%s and predictions.json are in %s", plural(len(drawing.found), "picture"), out)
    report_unread(broken)


@dataclass(frozen=True)
class _Drawing:
    """A detector at work; `found` grows with every picture: COCO's entry of it, and its detections."""

    detector: Detector
    dataset: PictureFolder
    out: Path
    thresholds: Tensor
    limit: int | None
    explain: int | None
    found: dict[int, tuple[dict[str, Any], Prediction]] = field(default_factory=dict)

    def draw_all(self) -> list[str]:
        """Draws every picture and video; returns what is wrong with those that cannot be read."""
        broken = []
        places = OutputNames(self.out, ["predictions.json", EXPLAINED])
        explained = OutputNames(self.out / EXPLAINED)
        names = self.dataset.image_ids
        for index, name in enumerate(watched(names, len(names), unit="picture", title="detection")):
            path = self.dataset.image_path(index)
            file = places.place(str(name), ".mp4" if is_video(path) else ".png")
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                if is_video(path):
                    with open_video(path) as (rate, frames):
                        write_video(file, rate, self._drawn_frames(index, islice(frames, self.limit)))
                    continue
                picture = load_image(path)
            except UserError as error:
                broken.append(str(error))
                continue
            self._drawn(picture, index, index).save(file)
            if self.explain is not None:
                file = explained.place(str(name), ".png")
                file.parent.mkdir(parents=True, exist_ok=True)
                shown = at_least(self.found[index][1], self.thresholds)
                draw_explained(self.detector, picture, shown, self.explain).save(file)
        return broken

    def _drawn_frames(self, index: int, frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """The pictures of one video, drawn; they are numbered after all files."""
        first = max([len(self.dataset) - 1, *self.found]) + 1
        for number, frame in enumerate(watched(frames, self.limit, unit="picture", title="video")):
            yield np.asarray(self._drawn(frame, index, first + number, number))

    def _drawn(
        self, picture: NDArray[np.uint8], index: int, key: int, frame: int | None = None
    ) -> Image.Image:
        """A picture of file number `index` with what is found in it, which is kept as `found[key]`."""
        (prediction,) = self.detector.find([picture])
        name = str(self.dataset.image_ids[index])
        image = coco_image(key + 1, name, (picture.shape[0], picture.shape[1]))
        image |= {} if frame is None else {"frame": frame}
        self.found[key] = image, replace(prediction, image_id=key + 1)
        shown = at_least(prediction, self.thresholds)
        return draw(picture, shown, self.detector.classes, score_threshold=0.0)

    def content(self) -> dict[str, Any]:
        """What was found in COCO's layout; the annotations have scores."""
        images, predictions = zip(*self.found.values(), strict=True) if self.found else ((), ())
        annotations = []
        for number, record in enumerate(to_coco_records(predictions, self.dataset), start=1):
            width, height = record["bbox"][2:]
            area = mask_area(record["segmentation"]) if "segmentation" in record else width * height
            annotations.append({"id": number, "area": area, "iscrowd": 0, **record})
        return coco_content(images, self.dataset.classes, self.dataset.category_ids, annotations)
