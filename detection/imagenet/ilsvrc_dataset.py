"""The opened data set of one or more splits of ImageNet DET or CLS-LOC."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from detection.data.voc_dataset import XmlPictures
from detection.imagenet.ilsvrc_split import IlsvrcSplit
from detection.types import Target
from foundation.errors import UserError, plural


class IlsvrcDataset:
    """Splits of one task, read once, with the boxes as `XmlForm` says for a first pixel 0, never clipped.

    DET's classes are the names of map_det.txt in the order of its numbers. Those of CLS-LOC are the WordNet
    ids in sorted order, which is that of class folders and of every classifier's outputs; the numbers of
    map_clsloc.txt, which `category_ids` gives, are in another order.

    Attributes:
        void_pairs: DET: index of a picture and label that the blacklist leaves out of the scores; objects of
            that class in that picture have `ignore` set.
        image_labels: CLS-LOC: the label, 1…K, of each picture; none where they are not published, nor of DET.
        left_out: CLS-LOC: indices of the pictures on the blacklist of val. Their objects are not ignored.
    """

    def __init__(self, splits: Sequence[IlsvrcSplit]) -> None:
        """Read lists, devkit and every annotation; UserError where one is missing or malformed."""
        for split in splits:
            for problem in split.problems():
                raise problem.error("")
            _require_pictures(split)
        self.classes = splits[0].classes()
        self.category_ids = splits[0].category_ids()
        self._pictures = XmlPictures(splits, splits[0].names())
        self.image_ids = self._pictures.image_ids
        self.has_truth = self._pictures.has_truth
        lists = [split.lists for split in splits for _ in split.image_ids()]
        named = list(enumerate(zip(map(str, self.image_ids), lists, strict=True)))
        self.void_pairs = frozenset(
            (index, label) for index, (name, known) in named for label in known.void.get(name, ())
        )
        self.image_labels = [known.labels[name] for _, (name, known) in named if name in known.labels]
        self.left_out = frozenset(index for index, (name, known) in named if name in known.left_out)

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every picture; without annotations from the headers of all."""
        return self._pictures.sizes

    @cached_property
    def targets(self) -> list[Target]:
        """One Target per picture, with the boxes as the files state them."""
        return [self._pictures.target(index) for index in range(len(self))]

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        return self._pictures.path(index)

    def load_target(self, index: int) -> Target:
        """The objects of one picture for training; none where there are no annotations."""
        return self._pictures.training_target(index)

    def fingerprint(self) -> str:
        """A digest of the pictures' names and their annotations, which must be known."""
        return self._pictures.fingerprint()


def _require_pictures(split: IlsvrcSplit) -> None:
    absent = [path for path in map(split.image_path, split.image_ids()) if not path.is_file()]
    if absent:
        are = "is" if len(absent) == 1 else "are"
        raise UserError(
            f"{split.list_file} lists {plural(len(absent), 'picture')} that {are} not there, first "
            f"{absent[0]}; unpack the whole archive of {split.places.task}"
        )
