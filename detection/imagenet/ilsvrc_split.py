"""One split of a challenge, for the loader and for the doctor: its pictures, and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from detection.data.annotations import Problem
from detection.data.voc_checks import VocAnnotation, XmlForm, read_annotation, size_of_file
from detection.imagenet.ilsvrc_lists import SplitLists, TrainSample, read_det_lists, read_loc_lists
from detection.imagenet.ilsvrc_places import IlsvrcPlaces, Task, part_of
from detection.imagenet.synsets import Synset, read_synsets


def form_of(task: Task) -> XmlForm:
    """How the annotations of a task are written: from pixel 0, with WordNet ids for names."""
    file = IlsvrcPlaces(Path("."), task).synsets.as_posix()
    return XmlForm(0, f"WordNet ids, which {file} lists", spelt=False, lists=f"ImageSets/{task}")


@dataclass(frozen=True)
class IlsvrcSplit:
    """A split of DET or CLS-LOC by its name: "train", "val", "test", DET's "val1" and "val2", or a list.

    Attributes:
        sample: of DET's "train"; None takes all positive pictures.
    """

    places: IlsvrcPlaces
    name: str
    sample: TrainSample | None = None

    def __str__(self) -> str:
        return f"{self.places.task}:{self.name}"

    @property
    def kind(self) -> str:
        """What a configuration calls the task."""
        return "imagenet_det" if self.places.task == "DET" else "imagenet_loc"

    @property
    def list_file(self) -> Path:
        """Where the split's pictures are listed."""
        return self.places.list_file(self.name)

    @cached_property
    def synsets(self) -> list[Synset]:
        """The classes in the order of the labels: DET's by number, CLS-LOC's by WordNet id."""
        return self._read_synsets[0]

    @cached_property
    def lists(self) -> SplitLists:
        """What the lists and the devkit say; UserError where the split has no list."""
        self.places.require(self.name)
        if self.places.task == "DET":
            return read_det_lists(self.places, self.name, self.synsets, self.sample)
        return read_loc_lists(self.places, self.name, self.synsets)

    def problems(self) -> list[Problem]:
        """All for which the loader refuses the lists and the devkit's files; UserError as of `lists`."""
        lists = self.lists
        return [*self._read_synsets[1], *lists.problems]

    def classes(self) -> list[str]:
        """DET's names of the classes, CLS-LOC's WordNet ids, which all folders of its pictures are called."""
        by_name = self.places.task == "DET"
        return [synset.name if by_name else synset.wnid for synset in self.synsets]

    def names(self) -> list[str]:
        """What <name> may be, in the order of the labels."""
        return [synset.wnid for synset in self.synsets]

    def category_ids(self) -> list[int]:
        """The devkit's numbers of the classes."""
        return [synset.number for synset in self.synsets]

    def image_ids(self) -> list[str]:
        """The names of the split's pictures, below the folder of its part of the data."""
        return self.lists.image_ids

    def annotation_file(self, image_id: str) -> Path:
        """The XML file of a picture."""
        return self.places.annotation_file(self.name, image_id)

    def image_path(self, image_id: str) -> Path:
        """The file of a picture."""
        return self.places.image_path(self.name, image_id)

    def is_secret(self) -> bool:
        """Whether only the evaluation server knows the objects, as of "test"."""
        return part_of(self.name) == "test"

    def read(self, image_id: str, names: Sequence[str]) -> VocAnnotation:
        """The annotation of a picture, with all that is wrong with it.

        Objects of a class that the blacklist leaves out of the picture's scores are `difficult`. DET's
        training pictures without objects may have no file.
        """
        path, picture = self.annotation_file(image_id), self.image_path(image_id)
        if str(self) == "DET:train" and not path.is_file() and (size := size_of_file(picture)):
            return VocAnnotation(size, [], [])
        size, objects, problems = read_annotation(path, names, picture, form_of(self.places.task))
        void, label = self.lists.void.get(image_id, frozenset()), self.lists.labels.get(image_id)
        objects = [found._replace(difficult=True) if found.label in void else found for found in objects]
        problems += [
            Problem(
                "other_class",
                f"object {found.number}",
                f"is {names[found.label - 1]}, but the picture is of class {names[label - 1]}, and so are "
                "all objects of a CLS-LOC picture; correct or remove it",
            )
            for found in objects
            if label not in (None, found.label)
        ]
        return VocAnnotation(size, objects, problems)

    @cached_property
    def _read_synsets(self) -> tuple[list[Synset], list[Problem]]:
        problems: list[Problem] = []
        synsets = read_synsets(self.places.synsets, problems)
        if self.places.task == "CLS-LOC":
            synsets.sort(key=lambda synset: synset.wnid)
        return synsets, problems
