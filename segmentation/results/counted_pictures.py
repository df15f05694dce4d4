"""What an evaluation counted in each picture, as a file: what intervals of two networks' difference need."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foundation.atomic_files import write_arrays
from foundation.errors import UserError
from foundation.file_reading import read_arrays
from segmentation.metrics.confusion_matrix import PictureCounts
from segmentation.metrics.iou_bootstrap import total_ious
from segmentation.metrics.label_figures import mean_known
from segmentation.types import SegmentationDataset

REMEDY = "expected what tools/eval_seg.py --out writes; score the weights again"
# name: (kind of NumPy's, dimensions)
ARRAYS = {
    "ids": ("U", 1),
    "classes": ("U", 1),
    "fingerprint": ("U", 0),
    **dict.fromkeys(PictureCounts._fields, ("u", 2)),
}


@dataclass(frozen=True)
class CountedPictures:
    """The counts of N pictures and K classes, and which pictures they are.

    Attributes:
        ids: N names of pictures.
        classes: K names in the order of the labels.
        fingerprint: of the data set, see `SegmentationDataset`.
        counts: (N, K) each.
    """

    ids: list[str]
    classes: list[str]
    fingerprint: str
    counts: PictureCounts

    @property
    def scores(self) -> dict[str, float]:
        """The mean IoU that follows from the counts, 0…1; NaN without a counted pixel."""
        return {"mIoU": float(mean_known(total_ious(self.counts)))}

    def save(self, file: Path) -> None:
        """Writes a NumPy archive (.npz) of `ARRAYS`, the counts in the smallest type that holds them."""
        largest = max((int(part.max()) for part in self.counts if part.size), default=0)
        counts = {
            name: part.astype(np.min_scalar_type(largest)) for name, part in self.counts._asdict().items()
        }
        ids, classes = (np.array(names, dtype=np.str_) for names in (self.ids, self.classes))
        write_arrays(file, {"ids": ids, "classes": classes, "fingerprint": self.fingerprint, **counts})


def name_pictures(dataset: SegmentationDataset, fingerprint: str, counts: PictureCounts) -> CountedPictures:
    """The counts of all pictures of a data set, in its order, with what the pictures are."""
    ids = [dataset.image_id(index) for index in range(len(dataset))]
    return CountedPictures(ids, dataset.classes, fingerprint, counts)


def load_counted_pictures(file: Path) -> CountedPictures:
    """Reads what `CountedPictures.save` wrote.

    Raises:
        UserError: it cannot be read, or holds counts that no pictures have.
    """
    arrays = read_arrays(file, ARRAYS, REMEDY)
    ids, classes = arrays["ids"].tolist(), arrays["classes"].tolist()
    counts = PictureCounts(*(arrays[name].astype(np.int64) for name in PictureCounts._fields))
    hits, truth, predicted = counts
    sound = (
        all(part.shape == (len(ids), len(classes)) for part in counts)
        and bool((hits >= 0).all())
        and bool((hits <= np.minimum(truth, predicted)).all())
        and bool((truth.sum(axis=1) == predicted.sum(axis=1)).all())  # every pixel that counts is in both
    )
    if not sound:
        raise UserError(f"{file}: its counts do not fit together; {REMEDY}")
    return CountedPictures(ids, classes, str(arrays["fingerprint"]), counts)
